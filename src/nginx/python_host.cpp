#include "nginx/python_host.hpp"

#include <dlfcn.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <stdexcept>
#include <string_view>
#include <system_error>

#include "nginx/child.hpp"

namespace owt {

namespace {

// Never unloaded: Python's threads may outlive nginx's modules.
void* load(const std::string& path, int visibility) {
    void* loaded = ::dlopen(path.c_str(), RTLD_NOW | RTLD_NODELETE | visibility);
    if (loaded == nullptr) {
        throw std::runtime_error(::dlerror());
    }
    return loaded;
}

}  // namespace

// Symbols are looked up in the process's first libraries first, so that one's functions would be taken for the other's.
std::string foreign_python(const Interpreter& interpreter) {
    void* function = ::dlsym(RTLD_DEFAULT, "Py_InitializeFromConfig");
    Dl_info info{};
    if (function == nullptr || ::dladdr(function, &info) == 0 || info.dli_fname == nullptr) {
        return {};
    }
    std::error_code error;
    return std::filesystem::equivalent(info.dli_fname, interpreter.library, error) ? std::string() : info.dli_fname;
}

const Bridge& open_bridge(const Interpreter& interpreter) {
    // A virtualenv that was made anew has its packages elsewhere. One that is gone is told by who starts Python.
    std::error_code error;
    std::string program = std::filesystem::canonical(interpreter.executable, error).string();
    if (!program.empty() && !interpreter.program.empty() && program != interpreter.program) {
        throw std::runtime_error(interpreter.executable + " was " + interpreter.program +
                                 " when nginx read its configuration, and is " + program +
                                 " now: \"nginx -s reload\" asks it anew");
    }
    // For extension modules too, which are linked to no libpython.
    load(interpreter.library, RTLD_GLOBAL);
    const void* found = ::dlsym(load(interpreter.bridge, RTLD_LOCAL), "owt_bridge");
    const auto* bridge = static_cast<const Bridge*>(found);
    if (bridge == nullptr || std::string_view(bridge->mark) != OWT_MARK) {
        throw std::runtime_error(interpreter.bridge + " is not what it was when nginx read its configuration: reload");
    }
    return *bridge;
}

void try_to_open_bridge(const Interpreter& interpreter) {
    Child child = fork_child();
    if (child.pid == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        try {
            open_bridge(interpreter);
        } catch (const std::exception&) {
            // which this process will be told itself
        }
        ::_exit(::write(child.pipe.get(), "", 1) == 1 ? 0 : 1);
    }
    char word = 0;
    ssize_t n = 0;
    while ((n = ::read(child.pipe.get(), &word, 1)) < 0 && errno == EINTR) {
    }
    ::waitpid(child.pid, nullptr, 0);  // unless nginx's own handler has done it
    if (n != 1) {
        throw std::runtime_error("a process dies that loads " + interpreter.library + " and " + interpreter.bridge);
    }
}

}  // namespace owt
