#include "python/guests.hpp"

#include <Python.h>
#include <pybind11/pybind11.h>

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

#include "call/fd.hpp"
#include "python/python.hpp"

namespace py = pybind11;

namespace owt::python {

namespace {

constexpr int first_free = STDERR_FILENO + 1;
constexpr int fatal = 2;  // nginx's master starts no successor for who ends with this status

// Never destroyed: Python threads may outlive everything else.
struct House {
    Host host;
    std::string sources;
};

House& house() {
    static auto& house = *std::make_unique<House>().release();
    return house;
}

// What a function written in C was given.
struct Given {
    PyObject* const* values;
    Py_ssize_t positional;
    PyObject* names;  // of those that follow

    // Null if it was not given.
    PyObject* find(Py_ssize_t position, const char* name) const {
        if (position < positional) {
            return values[position];
        }
        for (Py_ssize_t i = 0; names != nullptr && i < PyTuple_GET_SIZE(names); i++) {
            if (PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, i), name) == 0) {
                return values[positional + i];
            }
        }
        return nullptr;
    }

    // -1 if it is not there, is no number, or one below 0.
    int number(Py_ssize_t position, const char* name) const {
        PyObject* value = find(position, name);
        if (value == nullptr || !PyIndex_Check(value)) {
            return -1;
        }
        py::object index = py::reinterpret_steal<py::object>(PyNumber_Index(value));
        int overflow = 0;
        long number = index ? PyLong_AsLongAndOverflow(index.ptr(), &overflow) : -1;
        PyErr_Clear();
        constexpr long largest = std::numeric_limits<int>::max();
        return overflow > 0 || number > largest ? static_cast<int>(largest)
               : number < 0                     ? -1
                                                : static_cast<int>(number);
    }
};

// The first in [low, high) that is the server's, in the server's own process; -1 if none is.
int first_owned(int low, int high) {
    int owned = low < high && house().host.first_owned ? house().host.first_owned(low, high) : -1;
    return owned >= 0 && in_worker() ? owned : -1;
}

// Sets Python's error. Always false.
bool refuse(const std::string& text) {
    PyErr_SetObject(PyExc_OSError, py::make_tuple(EPERM, text).ptr());
    return false;
}

bool refuse(int fd, const char* what) {
    return refuse("descriptor " + std::to_string(fd) + " is the server's own, not this adaptor's: it cannot be " +
                  what +
                  (fd < first_free ? " (to catch what is printed, use contextlib.redirect_stdout or the arguments of "
                                     "subprocess)"
                                   : ""));
}

bool refuse_owned(int fd, const char* what) {
    int owned = fd >= 0 ? first_owned(fd, fd + 1) : -1;
    return owned < 0 || refuse(owned, what);
}

bool may_close(const Given& given) {
    return refuse_owned(given.number(0, "fd"), "closed");
}

bool may_close_range(const Given& given) {
    int owned = first_owned(std::max(given.number(0, ""), 0), given.number(1, ""));
    return owned < 0 || refuse(owned, "closed, nor can the range that it is in: close what you have opened");
}

bool may_replace(const Given& given) {
    return refuse_owned(given.number(1, "fd2"), "replaced");
}

bool may_copy(const Given& given) {
    int fd = given.number(0, "fd");
    return fd < first_free || refuse_owned(fd, "copied");
}

bool may_log_in(const Given&) {
    return !in_worker() || refuse("os.login_tty() would replace the server's own stdin, stdout and stderr");
}

bool may_exec(const Given&) {
    return !in_worker() || refuse("os.exec*() would replace the server itself: start a program with subprocess");
}

bool may_exit(const Given& given) {
    if (given.number(0, "status") == fatal && in_worker()) {
        ::_exit(1);
    }
    return true;
}

// A limit of the process is one of all its calls: what lowers it below what they need is refused. The number of
// descriptors may be lowered to what many programs take for plenty.
bool lowers(int resource, rlim_t wanted) {
    constexpr std::array bounded = {RLIMIT_AS, RLIMIT_DATA, RLIMIT_CPU, RLIMIT_FSIZE, RLIMIT_NPROC};
    constexpr rlim_t plenty = 1024;
    rlimit now{};
    return ::getrlimit(static_cast<__rlimit_resource>(resource), &now) == 0 && wanted < now.rlim_cur &&
           (std::ranges::count(bounded, resource) > 0 || (resource == RLIMIT_NOFILE && wanted < plenty));
}

bool may_set(int resource, PyObject* limits) {
    if (limits == nullptr || !PySequence_Check(limits) || !in_worker()) {
        return true;
    }
    py::object soft = py::reinterpret_steal<py::object>(PySequence_GetItem(limits, 0));
    int overflow = 0;
    long long wanted = soft && PyLong_Check(soft.ptr()) ? PyLong_AsLongLongAndOverflow(soft.ptr(), &overflow) : -1;
    PyErr_Clear();
    return overflow != 0 || !lowers(resource, static_cast<rlim_t>(wanted)) ||
           refuse(
               "this would limit the server's own process, and with it all its other calls: limit a program that you "
               "start (subprocess with preexec_fn, resource.prlimit, ulimit)");
}

bool may_limit(const Given& given) {
    return may_set(given.number(0, ""), given.find(1, ""));
}

bool may_limit_process(const Given& given) {
    int pid = given.number(0, "");
    return (pid != 0 && pid != ::getpid()) || may_set(given.number(1, ""), given.find(2, ""));
}

// Where the endpoints are, of which an adaptor may have cleared the environment: children import them from there.
void keep_environment() {
    if (::getenv("OWT_DIR") == nullptr && in_worker()) {
        ::setenv("OWT_DIR", house().sources.c_str(), 1);
    }
}

bool before_program(const Given&) {
    if (house().host.before_program && in_worker()) {
        house().host.before_program();
    }
    keep_environment();
    return true;
}

// The usual subprocess closes all descriptors but those that it was told to keep.
bool before_subprocess(const Given& given) {
    PyObject* closes = given.find(2, "close_fds");
    if (closes == nullptr || closes != Py_True) {
        return before_program(given);
    }
    keep_environment();
    return true;
}

using Check = bool (*)(const Given&);

// A function of a module written in C, with a check before it. There is one for each Name.
template <auto Name>
class Guarded {
  public:
    static void install(const char* module, const char* function, Check check) {
        py::object found = py::getattr(py::module_::import(module), function, py::none());
        if (!PyCFunction_Check(found.ptr())) {
            return;  // not in this Python
        }
        PyMethodDef& method = *reinterpret_cast<PyCFunctionObject*>(found.ptr())->m_ml;
        original_ = method.ml_meth;
        check_ = check;
        switch (method.ml_flags & (METH_VARARGS | METH_FASTCALL | METH_KEYWORDS | METH_O)) {
            case METH_FASTCALL | METH_KEYWORDS:
                method.ml_meth = as_method(&call_with_names);
                break;
            case METH_FASTCALL:
                method.ml_meth = as_method(&call);
                break;
            case METH_VARARGS:
                method.ml_meth = &call_with_tuple;
                break;
            case METH_O:
                method.ml_meth = &call_with_one;
                break;
            default:
                PyErr_Format(PyExc_SystemError, "%s.%s is called in a way that owt does not know", module, function);
                throw py::error_already_set();
        }
    }

  private:
    template <typename Function>
    static PyCFunction as_method(Function function) {
        return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
    }

    template <typename Function>
    static Function original() {
        return reinterpret_cast<Function>(reinterpret_cast<void (*)()>(original_));
    }

    static PyObject* call_with_names(PyObject* self, PyObject* const* values, Py_ssize_t size, PyObject* names) {
        using Function = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t, PyObject*);
        return check_({values, size, names}) ? original<Function>()(self, values, size, names) : nullptr;
    }

    static PyObject* call(PyObject* self, PyObject* const* values, Py_ssize_t size) {
        using Function = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t);
        return check_({values, size, nullptr}) ? original<Function>()(self, values, size) : nullptr;
    }

    static PyObject* call_with_tuple(PyObject* self, PyObject* tuple) {
        bool good = check_({&PyTuple_GET_ITEM(tuple, 0), PyTuple_GET_SIZE(tuple), nullptr});
        return good ? original_(self, tuple) : nullptr;
    }

    static PyObject* call_with_one(PyObject* self, PyObject* value) {
        return check_({&value, 1, nullptr}) ? original_(self, value) : nullptr;
    }

    static inline PyCFunction original_ = nullptr;
    static inline Check check_ = nullptr;
};

// --- Types whose objects own a descriptor and close it: they get a copy of 0, 1 and 2, and none of the others.

// What is to be owned in place of this. Nothing, with Python's error set, if it cannot be.
std::optional<Fd> own(int fd) {
    if (fd >= first_free) {
        return refuse_owned(fd, "used here") ? std::optional(Fd()) : std::nullopt;
    }
    Fd copy(::fcntl(fd, F_DUPFD_CLOEXEC, first_free));
    if (!copy) {
        PyErr_SetFromErrno(PyExc_OSError);
        return std::nullopt;
    }
    return copy;
}

// As an argument that has a number; -1 if it has none.
int number_of(py::handle value) {
    PyObject* argument = value.ptr();
    return argument != nullptr ? Given{&argument, 1, nullptr}.number(0, "") : -1;
}

// The arguments of a constructor; a new tuple and a new dict, which may be changed.
struct Arguments {
    py::list positional;
    py::dict named;

    Arguments(PyObject* args, PyObject* kwargs)
        : positional(py::reinterpret_borrow<py::tuple>(args)),
          named(kwargs != nullptr ? py::reinterpret_steal<py::dict>(PyDict_Copy(kwargs)) : py::dict()) {}

    py::object get(std::size_t position, const char* name) const {
        if (position < positional.size()) {
            return positional[position];
        }
        return named.contains(name) ? py::object(named[name]) : py::object();
    }

    void set(std::size_t position, const char* name, const py::object& value) {
        if (position < positional.size()) {
            positional[position] = value;
        } else {
            named[name] = value;
        }
    }

    int call(initproc original, py::handle self) const {
        return original(self.ptr(), py::tuple(positional).ptr(), named.ptr());
    }
};

// Puts init in the place of a type's __init__, for who names it as well, and returns the one that was there.
initproc replace_init(const py::object& type, initproc init) {
    auto* slots = reinterpret_cast<PyTypeObject*>(type.ptr());
    initproc original = std::exchange(slots->tp_init, init);
    py::object named = type.attr("__init__");
    if (Py_TYPE(named.ptr()) == &PyWrapperDescr_Type) {
        reinterpret_cast<PyWrapperDescrObject*>(named.ptr())->d_wrapped =
            reinterpret_cast<void*>(reinterpret_cast<void (*)()>(init));
    }
    return original;
}

// For C: no exception of C++ gets out. 0, or -1 with Python's error set.
template <typename Init>
int guarded(Init init) noexcept {
    try {
        try {
            return init();
        } catch (py::error_already_set& error) {
            error.restore();
        }
    } catch (const std::exception& error) {
        PyErr_SetString(PyExc_RuntimeError, error.what());
    } catch (...) {
        PyErr_SetString(PyExc_RuntimeError, "an exception of C++ that is none of its library's");
    }
    return -1;
}

initproc init_file = nullptr;
initproc init_socket = nullptr;

// An opener may return one of the three as well.
py::object guard_opener(const py::object& opener) {
    return py::cpp_function([opener](const py::args& args) -> py::object {
        py::object opened = opener(*args);
        int fd = number_of(opened);
        if (fd < 0 || !in_worker()) {
            return opened;
        }
        auto copy = own(fd);
        if (!copy) {
            throw py::error_already_set();
        }
        return *copy ? py::int_(copy->release()) : opened;
    });
}

// io.FileIO(file, mode='r', closefd=True, opener=None), which every open() makes.
int init_guarded_file(PyObject* self, PyObject* args, PyObject* kwargs) {
    bool plain = kwargs == nullptr && PyTuple_GET_SIZE(args) == 4 && PyTuple_GET_ITEM(args, 3) == Py_None;
    if ((plain && !PyIndex_Check(PyTuple_GET_ITEM(args, 0))) || !in_worker()) {
        return init_file(self, args, kwargs);
    }
    return guarded([&] {
        Arguments arguments(args, kwargs);
        py::object opener = arguments.get(3, "opener");
        if (opener && !opener.is_none()) {
            arguments.set(3, "opener", guard_opener(opener));
        }
        py::object file = arguments.get(0, "file");
        py::object closes = arguments.get(2, "closefd");
        int fd = number_of(file);
        if (fd < 0 || (fd < first_free && closes && PyObject_IsTrue(closes.ptr()) != 1)) {
            return arguments.call(init_file, self);
        }
        auto copy = own(fd);
        if (!copy) {
            return -1;
        }
        if (!*copy) {
            return arguments.call(init_file, self);
        }
        arguments.set(0, "file", py::int_(copy->get()));
        if (arguments.call(init_file, self) != 0) {
            return -1;
        }
        copy->release();
        return PyObject_SetAttrString(self, "name", file.ptr());
    });
}

// _socket.socket(family=-1, type=-1, proto=-1, fileno=None)
int init_guarded_socket(PyObject* self, PyObject* args, PyObject* kwargs) {
    if (kwargs == nullptr && (PyTuple_GET_SIZE(args) < 4 || PyTuple_GET_ITEM(args, 3) == Py_None)) {
        return init_socket(self, args, kwargs);
    }
    return guarded([&] {
        Arguments arguments(args, kwargs);
        int fd = number_of(arguments.get(3, "fileno"));
        if (fd < 0 || !in_worker()) {
            return init_socket(self, args, kwargs);
        }
        auto copy = own(fd);
        if (!copy) {
            return -1;
        }
        if (!*copy) {
            return init_socket(self, args, kwargs);
        }
        arguments.set(3, "fileno", py::int_(copy->get()));
        if (arguments.call(init_socket, self) != 0) {
            return -1;
        }
        copy->release();
        return 0;
    });
}

enum class Name {
    close,
    close_range,
    dup,
    dup2,
    login_tty,
    exit,
    setrlimit,
    prlimit,
    execv,
    execve,
    system,
    spawn,
    spawnp,
    fork_exec,
    socket_close,
    socket_dup
};

}  // namespace

void guard_process(const Settings& settings) {
    house() = {settings.host, settings.sources};
    Guarded<Name::close>::install("posix", "close", may_close);
    Guarded<Name::close_range>::install("posix", "closerange", may_close_range);
    Guarded<Name::dup>::install("posix", "dup", may_copy);
    Guarded<Name::dup2>::install("posix", "dup2", may_replace);
    Guarded<Name::login_tty>::install("posix", "login_tty", may_log_in);
    Guarded<Name::exit>::install("posix", "_exit", may_exit);
    Guarded<Name::setrlimit>::install("resource", "setrlimit", may_limit);
    Guarded<Name::prlimit>::install("resource", "prlimit", may_limit_process);
    Guarded<Name::execv>::install("posix", "execv", may_exec);
    Guarded<Name::execve>::install("posix", "execve", may_exec);
    Guarded<Name::system>::install("posix", "system", before_program);
    Guarded<Name::spawn>::install("posix", "posix_spawn", before_program);
    Guarded<Name::spawnp>::install("posix", "posix_spawnp", before_program);
    Guarded<Name::fork_exec>::install("_posixsubprocess", "fork_exec", before_subprocess);
    Guarded<Name::socket_close>::install("_socket", "close", may_close);
    Guarded<Name::socket_dup>::install("_socket", "dup", may_copy);
    init_file = replace_init(py::module_::import("_io").attr("FileIO"), init_guarded_file);
    init_socket = replace_init(py::module_::import("_socket").attr("socket"), init_guarded_socket);
}

}  // namespace owt::python
