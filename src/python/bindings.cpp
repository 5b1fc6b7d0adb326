// The module _owt that Python sees (python/_owt.pyi documents it), and the way of a call into Python: parameters in,
// answer out. No reference is kept to what Python owns, but for the bytes on their way to a client.

#include "python/bindings.hpp"

#include <pybind11/embed.h>
#include <pybind11/stl.h>

#include <fcntl.h>
#include <malloc.h>
#include <sched.h>
#include <unistd.h>
#include <csignal>

#include <algorithm>
#include <array>

#include "call/fields.hpp"
#include "call/hooks.hpp"
#include "call/intake.hpp"
#include "call/json.hpp"
#include "call/sha256.hpp"
#include "call/trace.hpp"
#include "call/urlencoded.hpp"
#include "python/loads.hpp"
#include "python/loop_queue.hpp"
#include "python/process.hpp"
#include "python/python.hpp"
#include "python/slot.hpp"
#include "python/versions.hpp"

namespace py = pybind11;

namespace owt::python {

namespace {

// What is shorter is copied: that costs less than handing the object back to a Python thread once it is sent.
constexpr std::size_t hold_from = 16 * 1024;

// The call that this thread runs, or ran last, has not failed for reasons that are nobody's own.
thread_local bool sound = true;

// Raised into Python as ValueError.
[[noreturn]] void bad_value(const std::string& what) {
    throw py::value_error(what);
}

// A process that an adaptor forked must not answer for its parent.
void stay_in_worker() {
    if (!in_worker()) {
        ::_exit(1);
    }
}

std::string_view view(py::handle text_or_bytes) {
    char* data = nullptr;
    Py_ssize_t size = 0;
    if (PyUnicode_Check(text_or_bytes.ptr())) {
        data = const_cast<char*>(PyUnicode_AsUTF8AndSize(text_or_bytes.ptr(), &size));
    } else if (PyBytes_AsStringAndSize(text_or_bytes.ptr(), &data, &size) != 0) {
        data = nullptr;
    }
    if (data == nullptr) {
        throw py::error_already_set();
    }
    return {data, static_cast<std::size_t>(size)};
}

Piece piece(py::handle text_or_bytes) {
    std::string_view bytes = view(text_or_bytes);
    if (bytes.size() < hold_from) {
        return Piece::copy(bytes);
    }
    return {bytes, hold(text_or_bytes.ptr())};
}

Head head(int status, py::handle headers) {
    auto sequence = py::reinterpret_steal<py::object>(PySequence_Fast(headers.ptr(), "headers: a sequence of pairs"));
    if (!sequence) {
        throw py::error_already_set();
    }
    Py_ssize_t size = PySequence_Fast_GET_SIZE(sequence.ptr());
    std::vector<Header> all;
    all.reserve(static_cast<std::size_t>(size));
    for (Py_ssize_t i = 0; i < size; i++) {
        PyObject* pair = PySequence_Fast_GET_ITEM(sequence.ptr(), i);
        if (!PyTuple_Check(pair) || PyTuple_GET_SIZE(pair) != 2) {
            bad_value("headers: every item is a (name, value) tuple");
        }
        all.push_back({std::string(view(PyTuple_GET_ITEM(pair, 0))), std::string(view(PyTuple_GET_ITEM(pair, 1)))});
    }
    Head head{status, Headers(std::move(all))};
    if (auto complaint = complain(head)) {
        bad_value(*complaint);
    }
    return head;
}

// As head(). Those that owt itself makes are read once, and known by their identity.
Head known_head(int status, py::handle headers) {
    static const auto known = [] {
        std::vector<std::pair<PyObject*, Headers>> known;
        for (py::handle own : py::reinterpret_borrow<py::tuple>(runtime().own_headers)) {
            known.emplace_back(own.ptr(), head(200, own).headers);
        }
        return known;
    }();
    auto found = std::ranges::find(known, headers.ptr(), &std::pair<PyObject*, Headers>::first);
    return found != known.end() ? Head{status, found->second} : head(status, headers);
}

py::str latin1(std::string_view text) {
    auto decoded = py::reinterpret_steal<py::str>(
        PyUnicode_DecodeLatin1(text.data(), static_cast<Py_ssize_t>(text.size()), nullptr));
    if (!decoded) {
        throw py::error_already_set();
    }
    return decoded;
}

py::dict environ(const Call& call) {
    py::dict environ;
    std::string_view rest = call.asked.environ;
    auto next = [&] {
        std::size_t end = rest.find('\0');
        std::string_view word = rest.substr(0, end);
        rest.remove_prefix(end + 1);
        return word;
    };
    while (!rest.empty()) {
        py::str name = latin1(next());
        py::str value = latin1(next());
        if (environ.contains(name)) {
            // RFC 9110, 5.2: fields sent more than once are one list; RFC 9113, 8.2.3 for cookies.
            const char* glue = name.equal(py::str("HTTP_COOKIE")) ? "{}; {}" : "{},{}";
            value = py::str(glue).format(environ[name], value);
        }
        environ[name] = value;
    }
    return environ;
}

int body_fd(const Call& call) {
    if (!call.asked.body_file) {
        return -1;
    }
    // Opened anew: descriptors that are copies share their place in the file, with all other calls that it came to.
    std::string path = "/proc/self/fd/" + std::to_string(call.asked.body_file.get());
    int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        fd = ::fcntl(call.asked.body_file.get(), F_DUPFD_CLOEXEC, 0);
    }
    if (fd < 0 || ::lseek(fd, 0, SEEK_SET) != 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        throw py::error_already_set();
    }
    return fd;
}

[[noreturn]] void raise_cancelled() {
    PyErr_SetNone(runtime().cancelled);
    throw py::error_already_set();
}

void write(Call& call, py::handle chunk) {
    stay_in_worker();
    auto room = call.push(piece(chunk), false);
    if (room == Call::Room::no) {
        py::gil_scoped_release detached;
        hook("write_waits");
        room = call.wait_for_room() ? Call::Room::yes : Call::Room::cancelled;
    }
    if (releases_waiting()) {
        release();
    }
    if (room == Call::Room::cancelled) {
        settle_interrupt();
        raise_cancelled();
    }
}

bool offer(Call& call, py::handle chunk) {
    stay_in_worker();
    auto room = call.push(piece(chunk), true);
    if (releases_waiting()) {
        release();
    }
    return room == Call::Room::yes;
}

// What the call prints beside its answer; by whom, as Said has it.
void say(Call& call, unsigned by, py::handle text, bool at_once) {
    if (call.asked.params.events && in_worker()) {
        call.say(static_cast<Said::By>(std::min(by, 2U)), view(text), at_once);
    }
}

// The keyword arguments that came as fields. Throws ValueError's C++ twin on JSON that Python cannot read.
py::dict keywords(const Params& params) {
    py::dict kwargs;
    for (const Field& field : params.fields) {
        py::str name(field.name);
        py::object value = py::str(field.value);
        if (field.json) {
            try {
                value = py::handle(runtime().read_json)(value);
            } catch (py::error_already_set& error) {
                bad_value("the JSON field '" + field.name +
                          "' cannot be read: " + py::str(error.value()).cast<std::string>());
            }
        }
        kwargs[name] = value;
    }
    return kwargs;
}

// All texts of the keyword arguments that came as fields more than once, by their names.
py::dict repeated(const Call& call) {
    const Params& params = call.asked.params;
    py::dict found;
    for (const Field& field : params.unused) {
        auto first = std::ranges::find(params.fields, field.name, &Field::name);
        if (field.json || first == params.fields.end()) {
            continue;
        }
        py::str name(field.name);
        if (!found.contains(name)) {
            py::list texts;
            texts.append(first->value);
            found[name] = texts;
        }
        found[name].cast<py::list>().append(field.value);
    }
    return found;
}

py::object kwargs_text(const Params& params) {
    return params.kwargs ? py::object(py::str(*params.kwargs)) : py::object(py::none());
}

// What is long comes in a list, from which it is taken once: nothing else holds it while the call runs.
py::object kwargs_text_to_take(const Params& params) {
    py::object text = kwargs_text(params);
    if (!params.kwargs || params.kwargs->size() < hold_from) {
        return text;
    }
    py::list list;
    list.append(std::move(text));
    return list;
}

py::tuple read_form(Call& call, const std::vector<std::pair<std::string, std::string>>& form) {
    Params& params = call.asked.params;
    auto complaint = params.published ? read_fields(form, call.asked.query, params) : owt::read_form(form, params);
    if (complaint) {
        bad_value(*complaint);
    }
    call.known();
    if (params.events) {
        call.announce();
    }
    return py::make_tuple(params.code_id, params.fn_name, keywords(params), kwargs_text(params));
}

// The parts of a file, one after the other; nothing at its end.
class Blocks {
  public:
    explicit Blocks(int fd) : fd_(fd) {}

    std::string_view operator()() {
        ssize_t n = ::pread(fd_, block_.data(), block_.size(), offset_);
        if (n < 0) {
            throw std::runtime_error("reading the spooled request body failed");
        }
        offset_ += n;
        return {block_.data(), static_cast<std::size_t>(n)};
    }

  private:
    int fd_;
    off_t offset_ = 0;
    std::array<char, 64 * 1024> block_;
};

std::string read_all(int fd) {
    Blocks next(fd);
    std::string body;
    for (std::string_view block = next(); !block.empty(); block = next()) {
        body.append(block);
    }
    return body;
}

std::string hash_of(int fd) {
    Blocks next(fd);
    return hex(sha256_of_parts([&next] { return next(); }));
}

// Parameters in a large body are read here, where it holds up nobody else. False if the call does not run now.
bool parse(Call& call) {
    Call::Asked& asked = call.asked;
    if (asked.place == Place::multipart || (asked.parsed && !asked.looks_later)) {
        return true;
    }
    py::gil_scoped_release detached;
    hook("parse");
    if (asked.place == Place::query || asked.place == Place::nowhere) {
        asked.further = asked.body_file ? hash_of(asked.body_file.get()) : sha256_hex(asked.body);
    } else {
        std::string spooled = asked.body_file ? read_all(asked.body_file.get()) : std::string();
        std::string_view body = asked.body_file ? std::string_view(spooled) : asked.body;
        auto complaint = asked.params.published       ? read_fields(asked.place, asked.query, body, asked.params)
                         : asked.place == Place::json ? read_json(body, asked.params)
                                                      : read_urlencoded(body, asked.params);
        if (complaint) {
            call.refuse({400, "bad-parameters", *complaint});
            return false;
        }
        call.known();
        if (asked.params.events) {
            call.announce();
        }
    }
    if (asked.looks_later && asked.params.use_cache) {
        call.park(nullptr);
        return false;
    }
    return true;
}

// The next call for asyncio's loop, as runtime.run() gets it; None if there is none.
py::object take() {
    stay_in_worker();
    while (CallPtr call = LoopQueue::get().take()) {
        Problem problem;
        try {
            const Params& params = call->asked.params;
            return py::make_tuple(call, params.code_id, params.fn_name, keywords(params), kwargs_text(params));
        } catch (const py::value_error& error) {
            problem = {400, "bad-parameters", error.what()};
        } catch (const std::exception& error) {
            doorbell().log({4, call->asked.connection,
                            std::string("owt itself failed: ") + error.what() + trace_note(call->asked.environ)});
            problem = {500, "owt-failed", "owt itself failed, see the server's error log: this is a bug in owt."};
        }
        call->refuse(std::move(problem));
        call->finished();
        LoopQueue::get().leave();
    }
    return py::none();
}

// A child that an adaptor forked may load what it likes, and nobody there interrupts it.
std::uint64_t begin_to_load() {
    if (!in_worker()) {
        return 0;
    }
    load_begins();
    return Loads::get().begin();
}

void end_to_load(std::uint64_t load) {
    if (load != 0 && in_worker()) {
        Loads::get().end(load);
        load_ends();
    }
}

// In place of sys.unraisablehook, which hook was. The interrupt may be here again at once, and is not to meet another
// line of Python where it would be raised in vain once more.
void unraisable(py::handle hook, py::handle raised) {
    py::object type = raised.attr("exc_type");
    if (PyType_Check(type.ptr()) && PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(type.ptr()),
                                                     reinterpret_cast<PyTypeObject*>(runtime().cancelled))) {
        interrupt_again();
    } else {
        hook(raised);
    }
}

// Of a child that an adaptor forked nothing is told.
void has_endpoint(const std::string& code_id, bool loaded) {
    if (host().endpoint && in_worker()) {
        host().endpoint(code_id, loaded);
    }
}

void load_took(Call& call, double seconds) {
    call.loaded(seconds);
    if (host().load_took && in_worker()) {
        host().load_took(seconds);
    }
}

void answer(Call& call, py::handle result) {
    PyObject* tuple = result.ptr();
    if (!PyTuple_Check(tuple) || PyTuple_GET_SIZE(tuple) != 3) {
        throw std::runtime_error("owt.engine.runtime.run returned neither None nor (status, headers, body)");
    }
    int status = static_cast<int>(PyLong_AsLong(PyTuple_GET_ITEM(tuple, 0)));
    call.respond(known_head(status, PyTuple_GET_ITEM(tuple, 1)), piece(PyTuple_GET_ITEM(tuple, 2)));
}

void run_in_python(const CallPtr& call) {
    if (!parse(*call)) {
        return;
    }
    const Params& params = call->asked.params;
    auto rest = call->take_rest();
    py::dict kwargs;
    try {
        kwargs = keywords(params);
    } catch (const py::value_error& error) {
        call->refuse({400, "bad-parameters", error.what()});
        return;
    }
    py::object handle = py::cast(call);
    // Of a form the arguments are still to be read, of others the code as well.
    bool unread = params.published && call->asked.place == Place::multipart && !rest;
    py::str code_id(unread ? std::string() : params.code_id);
    py::object fn_name = params.fn_name == "run" ? py::reinterpret_borrow<py::object>(runtime().name_run)
                                                 : py::object(py::str(params.fn_name));
    py::object text = kwargs_text_to_take(params);
    std::array<PyObject*, 6> arguments = {handle.ptr(),  code_id.ptr(),
                                          fn_name.ptr(), kwargs.ptr(),
                                          text.ptr(),    static_cast<PyObject*>(const_cast<void*>(rest.get()))};
    auto result =
        py::reinterpret_steal<py::object>(PyObject_Vectorcall(runtime().run, arguments.data(), rest ? 6 : 5, nullptr));
    stay_in_worker();
    if (!result) {
        throw py::error_already_set();
    }
    hook("before_answer");
    if (!result.is_none()) {
        answer(*call, result);
    }
}

}  // namespace

bool run(const CallPtr& call) {
    std::string failure;
    sound = true;
    try {
        run_in_python(call);
        return sound;
    } catch (py::error_already_set& error) {
        if (error.matches(runtime().cancelled)) {
            if (!call->cancelled()) {
                call->refuse({500, "adaptor-failed", "The adaptor raised owt.Cancelled by itself."});
            }
            return true;
        }
        failure = text_of(error);
    } catch (const std::exception& error) {
        failure = error.what();
    }
    stay_in_worker();
    doorbell().log({4, call->asked.connection, "owt itself failed: " + failure + trace_note(call->asked.environ)});
    if (call->answered()) {
        call->end(End::aborted);
    } else {
        call->refuse({500, "owt-failed",
                      "owt itself failed, see the server's error log: this is a bug in owt, or another adaptor has "
                      "damaged the process, which is replaced if it goes on."});
    }
    return false;
}

// It needs no GIL: what several threads touch has locks of its own. Where Python has none, it is not to be switched on.
#if PYBIND11_VERSION_HEX >= 0x03000000
#define OWT_MODULE(name, variable) \
    PYBIND11_EMBEDDED_MODULE(name, variable, py::mod_gil_not_used(), py::multiple_interpreters::not_supported())
#else
#define OWT_MODULE(name, variable) PYBIND11_EMBEDDED_MODULE(name, variable)
#endif

OWT_MODULE(_owt, module) {
#if defined(Py_GIL_DISABLED) && PYBIND11_VERSION_HEX < 0x03000000
    PyUnstable_Module_SetGIL(module.ptr(), Py_MOD_GIL_NOT_USED);
#endif
    py::class_<Call, CallPtr>(module, "Call")
        .def_property_readonly("connection", [](const Call& call) { return call.asked.connection; })
        .def_property_readonly("cancelled", &Call::cancelled)
        .def_property_readonly("show_traceback", [](const Call& call) { return call.asked.show_traceback; })
        .def_property_readonly("code", [](const Call& call) { return py::bytes(call.asked.params.code); })
        .def_property_readonly("published", [](const Call& call) { return call.asked.params.published; })
        .def("publication",
             [](const Call& call) { return py::make_tuple(as_tuple(*call.asked.published), call.asked.name); })
        .def("environ", &environ)
        .def("body", [](const Call& call) { return py::bytes(call.asked.body); })
        .def("body_fd", &body_fd)
        .def("read_form", &read_form)
        .def_property_readonly("repeated", &repeated)
        .def_property_readonly("looks_later",
                               [](const Call& call) { return call.asked.looks_later && call.asked.params.use_cache; })
        .def_property_readonly("key_has_arguments",
                               [](const Call& call) {
                                   const Params& params = call.asked.params;
                                   return params.cache_kwargs && !params.cache_key_override;
                               })
        .def("park",
             [](Call& call, std::string further, py::handle rest) {
                 stay_in_worker();
                 call.asked.further = std::move(further);
                 call.park(hold(rest.ptr()));
             })
        .def("loaded", &load_took)
        .def("refuse",
             [](Call& call, int status, const std::string& type, const std::string& detail) {
                 stay_in_worker();
                 call.refuse({status, type, detail});
             })
        .def("respond",
             [](Call& call, int status, py::handle headers, py::handle body) {
                 stay_in_worker();
                 call.respond(head(status, headers), piece(body));
             })
        .def("send_file",
             [](Call& call, int status, py::handle headers, int fd, const std::string& name) {
                 stay_in_worker();
                 FileAnswer file{Fd(fd), name};
                 call.send_file(head(status, headers), std::move(file));
             })
        .def("start",
             [](Call& call, int status, py::handle headers) {
                 stay_in_worker();
                 call.start(head(status, headers));
                 call.bound();
             })
        .def("write", &write)
        .def("offer", &offer)
        .def_property_readonly("trace_id", [](const Call& call) { return trace_id_of(call.asked.environ); })
        .def_property_readonly("events", [](const Call& call) { return call.asked.params.events; })
        .def("say", &say)
        .def("progress",
             [](Call& call, std::string json) {
                 if (call.asked.params.events && in_worker()) {
                     call.progress(std::move(json));
                 }
             })
        .def("finish",
             [](Call& call) {
                 stay_in_worker();
                 call.end(End::finished);
             })
        .def(
            "abort",
            [](Call& call, int status, std::string type, std::string detail) {
                stay_in_worker();
                call.end(End::aborted, status == 0
                                           ? std::nullopt
                                           : std::optional<Problem>({status, std::move(type), std::move(detail)}));
            },
            py::arg("status") = 0, py::arg("type") = "", py::arg("detail") = "")
        .def("detach",
             [](Call& call) {
                 if (!LoopQueue::get().enter()) {
                     call.refuse(too_many_asynchronous());
                     return false;
                 }
                 if (!detach(call)) {
                     LoopQueue::get().leave();
                     raise_cancelled();
                 }
                 call.bound();
                 return true;
             })
        .def("to_threads", [](const CallPtr& call) { LoopQueue::get().hand_back(call); })
        .def("release",
             [](Call& call) {
                 end_tracing();
                 call.finished();
                 LoopQueue::get().leave();
             })
        .def("check",
             [](const Call& call) {
                 if (call.cancelled()) {
                     settle_interrupt();
                     raise_cancelled();
                 }
             })
        .def("wait_for_load", [](Call& call, std::uint64_t load, py::handle rest) {
            stay_in_worker();
            if (Loads::get().full()) {
                return false;
            }
            call.wait_for_load(load, hold(rest.ptr()));
            return true;
        });

    module.def("logs", [](unsigned level) { return doorbell().logs(level); });
    module.def("log", [](unsigned level, std::uint64_t connection, std::string text) {
        doorbell().log({level, connection, std::move(text)});
    });
    module.def("reserved_signals", [] {
        return std::vector<int>{SIGHUP,   SIGINT,  SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2,
                                SIGWINCH, SIGALRM, SIGIO,   SIGPIPE, SIGSYS,  stack_signal()};
    });
    module.def("unraisable", &unraisable);
    module.def("stack_of", [](unsigned long thread) {
        ask_for_stack(static_cast<pthread_t>(thread));
        py::gil_scoped_release detached;
        return read_stack();
    });
    module.def("load_begins", &begin_to_load);
    module.def("load_ends", &end_to_load);
    module.def("take", &take);
    module.def("queue_fd", [] { return LoopQueue::get().fd(); });
    module.def("asynchronous", [](const std::string& code_id, const std::string& fn_name) {
        if (in_worker()) {  // another thread may have held the lock when this child was forked
            LoopQueue::get().know(code_id, fn_name);
        }
    });
    module.def("replaced", [](const std::string& code_id) {
        if (in_worker()) {
            LoopQueue::get().forget(code_id);
        }
    });
    module.def("forget", [](const std::string& code_id) {
        if (in_worker()) {
            LoopQueue::get().forget(code_id);
            has_endpoint(code_id, false);
        }
    });
    module.def("has", [](const std::string& code_id) { has_endpoint(code_id, true); });
    module.def("answers",
               [](const std::string& file, std::string version) { Versions::get().set(file, std::move(version)); });
    module.def("changes", [](const std::string& file) { Versions::get().forget(file); });
    module.def("grace", &grace);
    module.def("part_directory", [] { return ::unshare(CLONE_FS) == 0; });
    module.def("loop_came_back", &loop_came_back);
    module.def("after_fork_in_child", [] {
        if (host().in_child) {
            host().in_child();
        }
    });
    module.def("failed", [] { sound = false; });
    module.def("retire", &retire);
    module.def("relieved", &relieved);
    module.def("endpoints", &endpoints);
    module.def("idle", &idle);
    module.def("trim", [] {
        py::gil_scoped_release detached;
        ::malloc_trim(0);
    });
}

}  // namespace owt::python
