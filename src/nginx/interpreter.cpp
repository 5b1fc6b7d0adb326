#include "nginx/interpreter.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <limits>
#include <stdexcept>
#include <string_view>
#include <vector>

#include <linux/close_range.h>

#include "call/bridge.hpp"
#include "call/fd.hpp"
#include "call/text.hpp"
#include "nginx/child.hpp"

namespace owt {

namespace {

constexpr auto patience = std::chrono::seconds(60);  // a cold disk has to be read, and startup code run
constexpr std::size_t most_said = 64 * 1024;
constexpr std::size_t most_shown = 500;
constexpr off_t largest_bridge = 1 << 30;
constexpr std::string_view cannot_read = "cannot be read: ";

// Read by any Python 3, so that an old one can say how old it is. Its libpython is the one that it runs with itself, if
// it does; else one beside it. Py_ENABLE_SHARED is not believed: conda ships the library and says 0.
constexpr const char* question = R"(
import os, sys, sysconfig

get = sysconfig.get_config_var
soabi = get("SOABI") or ""


def libraries():
    try:
        with open("/proc/self/maps", "rb") as maps:
            for line in maps:
                path = os.fsdecode(line).rstrip("\n").split(None, 5)[5:]
                if path and os.path.basename(path[0]).startswith("libpython%d.%d" % sys.version_info[:2]):
                    yield path[0]
    except OSError:
        pass
    of_version = "libpython%s.so" % get("LDVERSION")
    names = [get("INSTSONAME"), of_version + ".1.0", get("LDLIBRARY"), of_version]
    folders = [sys.base_prefix + "/lib", sys.base_exec_prefix + "/lib", sys.base_prefix + "/lib64", get("LIBDIR")]
    if get("LIBDIR") and get("MULTIARCH"):
        folders.append(get("LIBDIR") + "/" + get("MULTIARCH"))
    for folder in filter(None, folders):
        for name in filter(None, names):
            yield folder + "/" + os.path.basename(name)


def library():
    for path in libraries():
        if ".so" in os.path.basename(path) and os.path.isfile(path):
            return path
    return ""


def bridge():
    try:
        from importlib.util import find_spec

        for folder in find_spec("owt").submodule_search_locations:
            path = os.path.join(folder, "_bridge.%s.so" % soabi)
            if os.path.isfile(path):
                return path
    except Exception:
        pass
    return ""


# What brings packages into this Python, if anything may.
def installer():
    if sys.prefix == sys.base_prefix and os.path.exists(sysconfig.get_path("stdlib") + "/EXTERNALLY-MANAGED"):
        return ""
    try:
        from importlib.util import find_spec

        return "pip" if find_spec("pip") else "uv"
    except Exception:
        return "uv"


# A package of this name that is another's, as PyPI has one: it would come before owt's.
def foreign():
    try:
        from importlib.util import find_spec

        origin = find_spec("owt").origin
        return "" if os.path.isdir(os.path.join(os.path.dirname(origin), "engine")) else os.path.dirname(origin)
    except Exception:
        return ""


# What is too old of what the package imports, as python/pyproject.toml says.
def old():
    found = []
    try:
        from importlib.metadata import PackageNotFoundError, version
        from re import findall

        for name, least in ("Werkzeug", "2.2"), ("msgspec", "0.18"):
            try:
                here = version(name)
            except PackageNotFoundError:
                continue
            if list(map(int, findall("[0-9]+", here)[:2])) < list(map(int, least.split("."))):
                found.append((name + " " + here, name + ">=" + least))
    except Exception:
        pass
    return found


answer = ["%d.%d.%d" % sys.version_info[:3], sys.implementation.name, sys.prefix, sys.base_prefix, soabi]
answer += [library(), bridge(), installer(), foreign()]
too_old = old()
answer += [", ".join(what for what, _ in too_old), " ".join(wanted for _, wanted in too_old), ""]
sys.stdout.flush()
os.write(1, b"\0".join(map(os.fsencode, ["", "owt"] + answer)))
)";

// What the answer has, in this order, behind the mark.
enum Field : std::size_t {
    version,
    implementation,
    prefix,
    base_prefix,
    soabi,
    library,
    bridge,
    installer,
    foreign,
    old,
    wanted,
    fields
};

constexpr std::string_view answer_mark("\0owt\0", 5);

struct Said {
    std::vector<std::string> answer;  // empty if it gave none
    std::string otherwise;            // what it printed instead
};

// As a shell reads it.
std::string word(const std::string& text) {
    constexpr std::string_view plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+@%:,=";
    if (text.find_first_not_of(plain) == std::string::npos) {
        return text;
    }
    std::string quoted = "'";
    for (char c : text) {
        quoted += c == '\'' ? "'\\''" : std::string(1, c);
    }
    return quoted + "'";
}

// What would let this process run the file (X_OK) or read it (R_OK): somewhere on the way, which may lead through
// links, it is stopped. Empty if it is not.
std::string what_opens(std::string path, int wanted) {
    namespace fs = std::filesystem;
    std::error_code error;
    std::size_t slash = 0;
    for (int links = 0; links < 40 && slash != std::string::npos;) {
        slash = path.find('/', slash + 1);
        std::string part = path.substr(0, slash);
        if (fs::path target = fs::read_symlink(part, error); !error) {
            path = (fs::path(part).parent_path() / target).string() + path.substr(part.size());
            slash = 0;
            links++;
        } else if (bool way = fs::is_directory(part, error); ::access(part.c_str(), way ? X_OK : wanted) != 0) {
            return (way ? "chmod a+x " : wanted == X_OK ? "chmod a+rx " : "chmod a+r ") + word(part);
        }
    }
    return {};
}

bool changes(const User& user) {
    return user.uid != static_cast<uid_t>(-1) && ::geteuid() == 0;
}

// What root's shell has in its environment, passwords perhaps, is for nobody else. Left is what programs start by.
void forget_environment() {
    std::vector<std::string> dropped;
    for (char** entry = environ; *entry != nullptr; entry++) {
        std::string_view name(*entry);
        name = name.substr(0, name.find('='));
        bool stays = name == "PATH" || name == "TZ" || name == "LANG" || name.starts_with("LC_") ||
                     name.starts_with("LD_") || name.ends_with("SAN_OPTIONS");
        if (!stays) {
            dropped.emplace_back(name);
        }
    }
    for (const std::string& name : dropped) {
        ::unsetenv(name.c_str());
    }
}

// In the child, which runs as whom it is told and has nothing of the server's: neither descriptors, nor, as another
// user, environment, directory, and the terminal of whoever has started nginx, into which one could type as that one.
void become(const User& user, int output, pid_t parent) {
    int null = ::open("/dev/null", O_RDWR);
    ::dup2(null, STDIN_FILENO);
    ::dup2(output, STDOUT_FILENO);
    ::dup2(output, STDERR_FILENO);
    ::close_range(STDERR_FILENO + 1, std::numeric_limits<unsigned>::max(), 0);
    for (int number = 1; number < NSIG; number++) {
        ::signal(number, SIG_DFL);
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    if (changes(user)) {
        if (::setgid(user.gid) != 0 || ::initgroups(user.name.c_str(), user.gid) != 0 || ::setuid(user.uid) != 0 ||
            (user.uid != 0 && (::setsid() < 0 || ::chdir("/") != 0))) {
            ::dprintf(STDERR_FILENO, "cannot become %s: %s", user.name.c_str(), ::strerror(errno));
            ::_exit(1);
        }
        if (user.uid != 0) {
            forget_environment();
        }
    }
    // Ctrl-C at "nginx -t" does not reach another session.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) {
        ::_exit(1);
    }
}

// What the user lacks to do something with the file.
std::string refused(const std::string& path, int wanted, const std::string& user, int why) {
    std::string opens = why == EACCES ? what_opens(path, wanted) : "";
    return ::strerror(why) + (user.empty() ? "" : ", for " + user) +
           (opens.empty() ? "" : ": \"" + opens + "\" lets it in, or make it elsewhere");
}

[[noreturn]] void become_interpreter(const std::string& executable, const std::string& user) {
    ::execl(executable.c_str(), executable.c_str(), "-I", "-c", question, nullptr);
    std::string why = refused(executable, X_OK, user, errno);
    ::dprintf(STDERR_FILENO, "%s", why.c_str());
    ::_exit(127);
}

// Empty if it is not all there.
std::vector<std::string> answer_in(std::string_view text) {
    std::vector<std::string> answer;
    std::size_t begin = text.rfind(answer_mark);
    if (begin == std::string_view::npos) {
        return answer;
    }
    text.remove_prefix(begin + answer_mark.size());
    for (std::size_t end; (end = text.find('\0')) != std::string_view::npos; text.remove_prefix(end + 1)) {
        answer.emplace_back(text.substr(0, end));
    }
    return answer.size() == fields ? answer : std::vector<std::string>();
}

// What it prints until the answer is there or nobody writes any more: a child of its startup code may still live.
std::string read_answer(int fd) {
    std::string text;
    std::array<char, 4096> block;
    auto deadline = std::chrono::steady_clock::now() + patience;
    while (text.size() < most_said && answer_in(text).empty()) {
        auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
        pollfd readable{fd, POLLIN, 0};
        int ready = ::poll(&readable, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
        if (ready < 0 && errno == EINTR) {
            continue;
        }
        ssize_t n = ready > 0 ? ::read(fd, block.data(), block.size()) : -1;
        if (n == 0) {
            return text;
        }
        if (n < 0) {
            return text + "no answer in " + std::to_string(patience.count()) + " s";
        }
        text.append(block.data(), static_cast<std::size_t>(n));
    }
    return text;
}

// What a child says that has become the user.
std::string told_as(const User& user, const std::function<void()>& tell) {
    pid_t parent = ::getpid();
    Child child = fork_child();
    if (child.pid == 0) {
        become(user, child.pipe.get(), parent);
        tell();
        ::_exit(0);
    }
    std::string text = read_answer(child.pipe.get());
    // It is done, or never will be. nginx's own handler may have been first to hear of its end.
    if (::waitpid(child.pid, nullptr, WNOHANG) == 0) {
        ::kill(child.pid, SIGKILL);
        while (::waitpid(child.pid, nullptr, 0) < 0 && errno == EINTR) {
        }
    }
    return text;
}

// By which a complaint names whom calls run as; empty if that is who reads the configuration.
std::string named(const User& user) {
    return changes(user) ? user.name : std::string();
}

Said ask(const std::string& executable, const User& user) {
    std::string name = named(user);
    std::string text = told_as(user, [&] { become_interpreter(executable, name); });
    Said said{answer_in(text), {}};
    if (said.answer.empty()) {
        std::size_t fatal = text.find("Fatal Python error: ");
        if (fatal != std::string::npos) {
            said.otherwise =
                text.substr(fatal, text.find('\n', fatal) - fatal);  // where all threads are comes behind it
        } else {
            said.otherwise = text.substr(0, text.find_last_not_of('\n') + 1);
            said.otherwise.erase(0, said.otherwise.rfind('\n') + 1);  // of a traceback the last line
        }
        if (said.otherwise.size() > most_shown) {
            said.otherwise.replace(most_shown, std::string::npos, " ...");
        }
    }
    return said;
}

// An interpreter may say anything, and this goes to a terminal.
[[noreturn]] void fail(const std::string& what) {
    throw std::runtime_error(escaped(what));
}

bool exists(const std::string& path) {
    std::error_code error;
    return std::filesystem::exists(path, error);
}

// What somebody means who names something in it: its bin, its interpreter, its site-packages.
std::string home_around(const std::string& path) {
    std::filesystem::path inner = path;
    for (std::filesystem::path outer = inner.parent_path(); outer != outer.root_path(); outer = outer.parent_path()) {
        bool is_bin = inner.filename() == "bin";
        if ((is_bin || exists(outer / "pyvenv.cfg")) && exists(outer / "bin/python3")) {
            return outer;
        }
        inner = outer;
    }
    return {};
}

// Said of a directory in which no interpreter is.
[[noreturn]] void fail_without_interpreter(const std::string& home) {
    std::error_code error;
    if (!exists(home)) {
        fail("there is no directory " + home + ": make a virtualenv there with \"python3 -m venv " + word(home) + "\"");
    }
    std::string what = home + (std::filesystem::is_directory(home, error) ? " has no bin/python3" : " is no directory");
    if (std::string meant = home_around(home); !meant.empty()) {
        fail(what + ": what it lies in is meant, \"python_home " + word(meant) + ";\"");
    }
    if (exists(home + "/pyvenv.cfg")) {
        fail(what + ", or what it was made from is gone: make the virtualenv again with \"python3 -m venv --clear " +
             word(home) + "\"");
    }
    if (exists(home + "/conda-meta")) {
        fail(what + ": bring Python into the environment with \"conda install -p " + word(home) + " python\"");
    }
    if (std::filesystem::is_empty(home, error) && std::filesystem::is_directory(home, error)) {
        fail(what + ": make a virtualenv there with \"python3 -m venv " + word(home) + "\"");
    }
    fail(what + ": name a virtualenv, a conda environment, or what a Python was installed into; \"python3 -c " +
         "'import sys; print(sys.prefix)'\" prints the one of a Python");
}

// Said of a Python that has been built for itself alone.
[[noreturn]] void fail_without_library(const std::string& what, const std::vector<std::string>& answer) {
    std::string minor = answer[version].substr(0, answer[version].rfind('.'));
    std::string without =
        what + " comes without its library, libpython" + minor + ".so, which nginx's processes load: ";
    if (answer[base_prefix] == "/usr") {
        fail(without + "\"apt-get install libpython" + minor + "\" brings it");
    }
    if (answer[base_prefix].find("/.pyenv/") != std::string::npos) {
        fail(without + "\"PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install --force " + answer[version] +
             "\" builds this Python with it");
    }
    fail(without + "build this Python with \"./configure --enable-shared\"");
}

// An interpreter may say anything, and somebody copies this into a shell.
std::string words(std::string_view text) {
    std::string quoted;
    for (std::size_t end = 0; !text.empty(); text.remove_prefix(std::min(end + 1, text.size()))) {
        end = std::min(text.find(' '), text.size());
        quoted += (quoted.empty() ? "" : " ") + word(std::string(text.substr(0, end)));
    }
    return quoted;
}

// The command of pip or uv that changes the packages of a Python.
std::string install(const std::string& executable, const std::vector<std::string>& answer, const std::string& verb,
                    const std::string& what) {
    return answer[installer] == "pip" ? word(executable) + " -m pip " + verb + " " + what
                                      : "uv pip " + verb + " --python " + word(executable) + " " + what;
}

// What brings a bridge, or a new one, to a Python: into it, if that is where it belongs and packages may be installed
// there, else to where nginx has those that no Python has installed.
std::string how_to_bring_bridge(const std::string& executable, const std::vector<std::string>& answer) {
    const std::string& with = answer[installer];
    bool built_here = own_directory() != OWT_PYTHON_DIR;
    std::string command;
    if (!with.empty() && (!answer[bridge].empty() || !built_here)) {
        command = install(executable, answer, "install", "./python");
    } else {
        command = "make bridge PYTHON=" + word(executable) + (built_here ? "" : " && make install");
    }
    return "\"" + command + "\" in owt's source tree ";
}

// A pipe would wait for who writes into it, and a device may do whatever it likes.
std::string read_bridge(const std::string& path, const std::string& user, std::string& complaint) {
    std::string content;
    struct stat status {};
    if (::stat(path.c_str(), &status) == 0 && (!S_ISREG(status.st_mode) || status.st_size > largest_bridge)) {
        return content;
    }
    Fd file(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    content.resize(static_cast<std::size_t>(status.st_size));
    std::size_t done = 0;
    ssize_t n = file ? 1 : -1;
    while (n > 0 && done < content.size()) {
        n = ::read(file.get(), content.data() + done, content.size() - done);
        done += static_cast<std::size_t>(std::max<ssize_t>(n, 0));
    }
    if (n < 0) {
        complaint = std::string(cannot_read) + refused(path, R_OK, user, errno);
    }
    return content;
}

// Why this file is no bridge for this module; empty if it is one. Read by whom calls run as: who may choose the file
// does not have root open it, and the processes have to read it too.
std::string complain_of_bridge(const std::string& path, const User& user) {
    constexpr std::string_view none = "none";
    std::string name = named(user);
    std::string said = told_as(user, [&] {
        std::string complaint;
        std::string content = read_bridge(path, name, complaint);
        constexpr std::string_view mark(OWT_MARK);
        if (complaint.empty() && content.find(std::string(mark) + '\0') == std::string::npos) {
            std::string_view kind = mark.substr(0, mark.rfind(' ') + 1);
            complaint =
                content.find(kind) != std::string::npos ? "is of another release of owt" : "is no bridge of owt";
        }
        ::dprintf(STDOUT_FILENO, "%s", complaint.empty() ? none.data() : complaint.c_str());
    });
    return said == none ? std::string() : said;
}

Interpreter look(const std::string& home, const User& user) {
    std::string executable = home.empty() ? OWT_PYTHON : home + "/bin/python3";
    if (::access(executable.c_str(), F_OK) != 0) {
        if (home.empty()) {
            fail(executable +
                 ", the Python that owt was built with, is gone: name another one, \"owt_instance default { " +
                 "python_home DIR; }\"");
        }
        fail_without_interpreter(home);
    }
    Said said = ask(executable, user);
    if (said.answer.empty()) {
        std::string name = named(user);
        fail(executable + " does not run: " + said.otherwise + "; try \"" +
             (name.empty() ? "" : "runuser -u " + name + " -- ") + word(executable) + " -I -c 'import sysconfig'\"");
    }
    const std::vector<std::string>& answer = said.answer;
    std::string what = executable + ", Python " + answer[version] + ",";
    if (answer[implementation] != "cpython") {
        fail(executable + " is " + answer[implementation] + ", and owt runs CPython: make a virtualenv of that with " +
             "\"python3 -m venv DIR\"");
    }
    int major = std::atoi(answer[version].c_str());
    int minor = std::atoi(answer[version].c_str() + answer[version].find('.') + 1);
    if (major != 3 || minor < 11) {
        bool is_virtualenv = answer[prefix] != answer[base_prefix];
        fail(executable + " is Python " + answer[version] + ", and owt runs 3.11 and newer: " +
             (is_virtualenv ? "make it anew with one of these, \"python3.11 -m venv --clear " + word(answer[prefix])
                            : "make a virtualenv with one of these, \"python3.11 -m venv DIR") +
             "\"");
    }
    if (answer[library].empty()) {
        fail_without_library(what, answer);
    }
    if (!answer[foreign].empty()) {
        fail(what + " has a package owt that is another's, " + answer[foreign] + ": \"" +
             (answer[installer].empty() ? "rm -r " + word(answer[foreign])
                                        : install(executable, answer, "uninstall", "owt")) +
             "\" takes it away");
    }
    if (!answer[old].empty()) {
        fail(what + " has " + answer[old] + ", which is too old for owt: \"" +
             install(executable, answer, "install", words(answer[wanted])) + "\" brings what it wants");
    }
    std::string bridge_path =
        !answer[bridge].empty() ? answer[bridge] : own_directory() + "/_bridge." + answer[soabi] + ".so";
    std::string bring = how_to_bring_bridge(executable, answer);
    if (!exists(bridge_path)) {
        fail("owt has no bridge to " + what + " which would be " + bridge_path + ": " + bring + "makes it");
    }
    if (std::string complaint = complain_of_bridge(bridge_path, user); !complaint.empty()) {
        fail("the bridge to " + what + " " + bridge_path + ", " + complaint +
             (complaint.starts_with(cannot_read) ? "" : ": " + bring + "makes it anew"));
    }
    std::error_code error;
    std::string program = home.empty() ? std::string() : std::filesystem::canonical(executable, error).string();
    return {executable, program, answer[version], answer[prefix], answer[soabi], answer[library], bridge_path};
}

// The package lies beside the module in the build tree, else where make install put it.
std::string find_own_directory() {
    Dl_info info{};
    if (::dladdr(reinterpret_cast<const void*>(&own_directory), &info) != 0 && info.dli_fname) {
        std::error_code error;
        auto beside = std::filesystem::canonical(info.dli_fname, error).parent_path() / "python";
        if (!error && std::filesystem::exists(beside / "owt", error)) {
            return beside;
        }
    }
    return OWT_PYTHON_DIR;
}

}  // namespace

const std::string& own_directory() {
    static const auto& directory = *std::make_unique<std::string>(find_own_directory()).release();
    return directory;
}

const Interpreter& Interpreters::in(const std::string& home) {
    auto found = known_.find(home);
    if (found == known_.end()) {
        found = known_.emplace(home, look(home, user_)).first;
    }
    return found->second;
}

}  // namespace owt
