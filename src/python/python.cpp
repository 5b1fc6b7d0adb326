#include "python/python.hpp"

#include <pybind11/embed.h>
#include <pybind11/stl.h>

#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <mutex>
#include <stdexcept>
#include <system_error>
#include <vector>

#include "python/guests.hpp"
#include "python/process.hpp"

namespace py = pybind11;

namespace owt::python {

namespace {

// The interpreter is the process's own, and so is this. Never destroyed: Python threads may outlive everything else.
struct Interpreter {
    Runtime runtime{};
    Doorbell* doorbell = nullptr;
    Host host;
    double grace = 0;
    double idle = 0;
    std::size_t endpoints = 0;
    Fd stack_read;
    Fd stack_write;

    std::mutex release_mutex;
    std::vector<PyObject*> releases;
    std::atomic<bool> releases_waiting = false;
    std::function<void()> tell;
    std::function<void()> loop_came_back;
    std::function<void(std::string)> retire;
    std::function<void(bool)> relieved;
};

Interpreter& interpreter() {
    static auto* instance = std::make_unique<Interpreter>().release();
    return *instance;
}

class Config {
  public:
    Config() { PyConfig_InitPythonConfig(&config_); }
    ~Config() { PyConfig_Clear(&config_); }
    Config(const Config&) = delete;
    Config& operator=(const Config&) = delete;

    PyConfig* operator->() { return &config_; }
    PyConfig* get() { return &config_; }

    void set(wchar_t** field, const std::string& value) {
        check(PyConfig_SetBytesString(&config_, field, value.c_str()));
    }

    static void check(const PyStatus& status) {
        if (PyStatus_Exception(status)) {
            throw std::runtime_error(std::string(status.func ? status.func : "Python") + ": " +
                                     (status.err_msg ? status.err_msg : "cannot start"));
        }
    }

  private:
    PyConfig config_;
};

// Runs something of Python's whose failure is nobody's answer: it is logged.
template <typename Work>
void logged(Work work) noexcept {
    try {
        work();
    } catch (const py::error_already_set& error) {
        doorbell().log({4, 0, text_of(error)});
    } catch (const std::exception& error) {
        doorbell().log({4, 0, error.what()});
    }
}

void extend_path(const Settings& settings) {
    auto path = py::module_::import("sys").attr("path").cast<py::list>();
    py::ssize_t index = 0;
    for (const std::string& dir : settings.python_path) {
        path.insert(index++, dir);
    }
    for (const std::string& dir : settings.packages) {
        path.append(dir);
    }
}

// Crashes leave a Python traceback in the error log, which is this process's stderr; a stuck thread is asked for its
// stack by a signal, since the GIL may not be had.
void start_faulthandler() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
        throw std::runtime_error("pipe2() failed");
    }
    interpreter().stack_read = Fd(ends[0]);
    interpreter().stack_write = Fd(ends[1]);
    auto faulthandler = py::module_::import("faulthandler");
    faulthandler.attr("enable")(STDERR_FILENO);
    faulthandler.attr("register")(stack_signal(), ends[1], false);
}

Runtime look_up() {
    auto keep = [](const py::object& object) { return py::object(object).release().ptr(); };
    auto owt = py::module_::import("owt.engine.runtime");
    return {
        .run = keep(owt.attr("run")),
        .cancel = keep(owt.attr("cancel")),
        .resume = keep(owt.attr("resume")),
        .overdue = keep(owt.attr("overdue")),
        .preload = keep(owt.attr("preload")),
        .preloaded = keep(owt.attr("preloaded")),
        .publish = keep(owt.attr("publish")),
        .thread_started = keep(owt.attr("thread_started")),
        .thread_ended = keep(owt.attr("thread_ended")),
        .stop = keep(owt.attr("stop")),
        .relieve = keep(owt.attr("relieve")),
        .drop = keep(owt.attr("drop")),
        .cancelled = keep(py::module_::import("owt").attr("Cancelled")),
        .read_json = keep(py::module_::import("owt.asked.arguments").attr("read_json")),
        .name_run = keep(py::str("run")),
        .own_headers = keep(py::module_::import("owt.answer.response").attr("OWN")),
    };
}

}  // namespace

void set_environment(const Settings& settings) {
    for (const auto& [name, value] : settings.env) {
        ::setenv(name.c_str(), value.c_str(), 1);
    }
    ::setenv("OWT_DIR", settings.sources.c_str(), 1);
    // Whose standard library this is python_home has said. A virtualenv's activate unsets it too.
    ::unsetenv("PYTHONHOME");
}

void start(const Settings& settings, Doorbell& doorbell) {
    Interpreter& state = interpreter();
    state.doorbell = &doorbell;
    know_process();
    state.grace = std::chrono::duration<double>(settings.grace).count();
    state.idle = std::chrono::duration<double>(settings.idle).count();
    state.endpoints = settings.endpoints;
    state.host = settings.host;

    // An arena per thread keeps freed memory from other threads. With two the first thread of calls has the loop's own,
    // and the two wait for each other: glibc hands them out in turn.
    ::mallopt(M_ARENA_MAX, 3);

    PyPreConfig preconfig;
    PyPreConfig_InitPythonConfig(&preconfig);
    preconfig.utf8_mode = 1;  // nginx's workers have no LANG
    Config::check(Py_PreInitialize(&preconfig));

    if (::access(settings.python.c_str(), X_OK) != 0) {
        throw std::system_error(errno, std::generic_category(), settings.python);
    }
    Config config;
    config->install_signal_handlers = 0;
    config->parse_argv = 0;
#if PY_VERSION_HEX >= 0x030e0000
    // Without a GIL it is 1 by default: threads of pools would stay in the call that made them need a thread, for good.
    config->thread_inherit_context = 0;
#endif
    // sys.executable must be a python: multiprocessing, pip and debuggers run it.
    config.set(&config->program_name, settings.python);
    config.set(&config->executable, settings.python);
    Config::check(Py_InitializeFromConfig(config.get()));

    try {
        auto prefix = py::module_::import("sys").attr("prefix").cast<std::string>();
        if (prefix != settings.python_prefix) {
            // Its packages would be another's, the system's perhaps.
            throw std::runtime_error(settings.python + " had " + settings.python_prefix + " for its sys.prefix when " +
                                     "nginx read its configuration, and has " + prefix + " now");
        }
        guard_process(settings);
        extend_path(settings);
        start_faulthandler();
        py::module_::import("sys").attr("setswitchinterval")(std::chrono::duration<double>(switch_interval).count());
        py::module_::import("_owt");
        py::module_::import("owt.engine.runtime").attr("start")();
        state.runtime = look_up();
    } catch (const py::error_already_set& error) {
        throw std::runtime_error(text_of(error));
    }
}

const Runtime& runtime() {
    return interpreter().runtime;
}

Doorbell& doorbell() {
    return *interpreter().doorbell;
}

const Host& host() {
    return interpreter().host;
}

double grace() {
    return interpreter().grace;
}

double idle() {
    return interpreter().idle;
}

std::size_t endpoints() {
    return interpreter().endpoints;
}

Thread::Thread() : gil_(PyGILState_Ensure()), state_(PyEval_SaveThread()) {}

Thread::~Thread() {
    PyEval_RestoreThread(state_);
    PyGILState_Release(gil_);
}

void Thread::attach() {
    PyEval_RestoreThread(state_);
}

void Thread::detach() {
    PyEval_SaveThread();
}

std::optional<std::string> preload(const std::string& module) {
    try {
        py::handle(runtime().preload)(module);
    } catch (const py::error_already_set& error) {
        return text_of(error);
    }
    return std::nullopt;
}

void preloaded() {
    logged([] { py::handle(runtime().preloaded)(); });
}

py::tuple as_tuple(const Publication& publication) {
    static constexpr std::array kinds = {"file", "root", "tools"};
    return py::make_tuple(kinds[static_cast<std::size_t>(publication.kind)], publication.path, publication.function,
                          publication.prefix, publication.lazy, publication.runs_code);
}

void publish(const std::vector<std::shared_ptr<const Publication>>& published) {
    logged([&] {
        py::list all;
        for (const auto& publication : published) {
            all.append(as_tuple(*publication));
        }
        py::handle(runtime().publish)(all);
    });
}

void thread_started(std::size_t index) {
    logged([&] { py::handle(runtime().thread_started)(index); });
}

void thread_ended() {
    logged([] { py::handle(runtime().thread_ended)(); });
}

void cancel_task(const CallPtr& call) {
    logged([&] { py::handle(runtime().cancel)(call); });
}

void resume_task(const CallPtr& call) {
    logged([&] { py::handle(runtime().resume)(call); });
}

bool overdue_task(const CallPtr& call) {
    bool lost = false;
    logged([&] { lost = py::handle(runtime().overdue)(call).cast<bool>(); });
    return lost;
}

void stop(double seconds) {
    logged([&] { py::handle(runtime().stop)(seconds); });
}

void relieve(std::size_t limit) {
    logged([&] { py::handle(runtime().relieve)(limit); });
}

void drop(const std::string& code_id) {
    logged([&] { py::handle(runtime().drop)(code_id); });
}

#ifdef Py_GIL_DISABLED

// Without a GIL the thread goes on while it is looked at, so its frames are not for others. Whoever imports holds a
// lock of importlib's, which says whose it is.
bool importing(PyThreadState*, pthread_t id) {
    try {
        py::object locks = py::getattr(py::module_::import("_frozen_importlib"), "_module_locks", py::dict());
        auto copy = py::reinterpret_steal<py::dict>(PyDict_Copy(locks.ptr()));
        if (!copy) {
            throw py::error_already_set();
        }
        for (const auto& [name, reference] : copy) {
            py::object lock = py::reinterpret_borrow<py::object>(reference)();
            if (!lock.is_none() && py::object(lock.attr("owner")).equal(py::int_(id))) {
                return true;
            }
        }
    } catch (const py::error_already_set&) {
        return false;  // it is a shelter for careless imports, and no more
    }
    return false;
}

#else

bool importing(PyThreadState* thread, pthread_t) {
    bool found = false;
    // A collection could run finalizers, which could let the GIL go.
    int collecting = PyGC_Disable();
    PyFrameObject* frame = PyThreadState_GetFrame(thread);
    while (frame != nullptr && !found) {
        PyCodeObject* code = PyFrame_GetCode(frame);
        const char* file = PyUnicode_AsUTF8(code->co_filename);
        if (file == nullptr) {
            PyErr_Clear();
        } else {
            std::string_view name(file);
            found = name.starts_with("<frozen importlib") || name.ends_with("/owt/endpoint/loading.py");
        }
        Py_DECREF(code);
        PyFrameObject* back = PyFrame_GetBack(frame);
        Py_DECREF(frame);
        frame = back;
    }
    Py_XDECREF(frame);
    if (collecting) {
        PyGC_Enable();
    }
    return found;
}

#endif

bool interrupt(PyThreadState* thread) {
    return PyThreadState_SetAsyncExc(thread->thread_id, runtime().cancelled) != 0;
}

void clear_interrupt(PyThreadState* thread) {
    PyThreadState_SetAsyncExc(thread->thread_id, nullptr);
}

void end_tracing() {
    const PyThreadState* thread = PyThreadState_Get();
    if (thread->c_tracefunc != nullptr) {
        PyEval_SetTrace(nullptr, nullptr);
    }
    if (thread->c_profilefunc != nullptr) {
        PyEval_SetProfile(nullptr, nullptr);
    }
}

int stack_signal() {
    return SIGRTMAX - 1;
}

void ask_for_stack(pthread_t thread) {
    ::pthread_kill(thread, stack_signal());
}

std::string read_stack() {
    std::string stack;
    std::array<char, 4096> block;
    pollfd readable{interpreter().stack_read.get(), POLLIN, 0};
    // The handler writes at once; then comes silence.
    while (::poll(&readable, 1, stack.empty() ? 1000 : 50) > 0) {
        ssize_t n = ::read(readable.fd, block.data(), block.size());
        if (n <= 0) {
            break;
        }
        stack.append(block.data(), static_cast<std::size_t>(n));
    }
    return stack;
}

std::shared_ptr<const void> hold(PyObject* object) {
    Py_INCREF(object);
    return {object, [](PyObject* held) {
                Interpreter& state = interpreter();
                bool first;
                {
                    std::lock_guard lock(state.release_mutex);
                    first = state.releases.empty();
                    state.releases.push_back(held);
                    state.releases_waiting = true;
                }
                if (first && state.tell) {
                    state.tell();
                }
            }};
}

void on_release(std::function<void()> tell) {
    interpreter().tell = std::move(tell);
}

void on_loop_back(std::function<void()> tell) {
    interpreter().loop_came_back = std::move(tell);
}

void loop_came_back() {
    if (interpreter().loop_came_back) {
        interpreter().loop_came_back();
    }
}

bool releases_waiting() {
    return interpreter().releases_waiting.load(std::memory_order_relaxed);
}

void release() {
    Interpreter& state = interpreter();
    std::vector<PyObject*> releases;
    {
        std::lock_guard lock(state.release_mutex);
        releases.swap(state.releases);
        state.releases_waiting = false;
    }
    for (PyObject* object : releases) {
        Py_DECREF(object);
    }
}

void on_retirement(std::function<void(std::string)> tell) {
    interpreter().retire = std::move(tell);
}

void retire(std::string why) {
    if (in_worker() && interpreter().retire) {
        interpreter().retire(std::move(why));
    }
}

void on_relieved(std::function<void(bool)> tell) {
    interpreter().relieved = std::move(tell);
}

void relieved(bool helped) {
    if (in_worker() && interpreter().relieved) {
        interpreter().relieved(helped);
    }
}

std::string text_of(const py::error_already_set& error) {
    try {
        py::object format = py::module_::import("traceback").attr("format_exception");
        py::object trace = error.trace() ? error.trace() : py::none();
        return py::str("").attr("join")(format(error.type(), error.value(), trace)).cast<std::string>();
    } catch (const std::exception& failure) {
        return std::string(error.what()) + " (and formatting it failed: " + failure.what() + ")";
    }
}

}  // namespace owt::python
