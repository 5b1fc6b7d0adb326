#include "nginx/descriptors.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <system_error>

namespace owt {

namespace {

constexpr int standard = 3;  // 0, 1 and 2

// What nginx's loop changes while others look.
int load(const ngx_socket_t& fd) {
    return __atomic_load_n(&fd, __ATOMIC_RELAXED);
}

// Calls visit with the number of each open descriptor, until it returns false.
template <typename Visit>
void each_open(Visit visit) {
    std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir("/proc/self/fd"), ::closedir);
    if (directory == nullptr) {
        return;
    }
    while (const dirent* entry = ::readdir(directory.get())) {
        if (entry->d_name[0] == '.') {
            continue;
        }
        int fd = std::atoi(entry->d_name);
        if (fd != ::dirfd(directory.get()) && !visit(fd)) {
            return;
        }
    }
}

std::string target_of(int fd) {
    std::array<char, 4096> target{};
    ssize_t size = ::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), target.data(), target.size());
    return {target.data(), size > 0 ? static_cast<std::size_t>(size) : 0};
}

template <typename Is>
bool is_log(ngx_cycle_t* cycle, Is is) {
    for (ngx_list_part_t* part = &cycle->open_files.part; part != nullptr; part = part->next) {
        auto* files = static_cast<ngx_open_file_t*>(part->elts);
        if (std::any_of(files, files + part->nelts, [&](const ngx_open_file_t& file) { return is(load(file.fd)); })) {
            return true;
        }
    }
    return false;
}

template <typename Is>
bool is_listening(ngx_cycle_t* cycle, Is is) {
    auto* first = begin_of<ngx_listening_t>(cycle->listening);
    return std::any_of(first, first + cycle->listening.nelts,
                       [&](const ngx_listening_t& listening) { return is(load(listening.fd)); });
}

// The sockets by which workers are told of each other. Of the other ends some are closed, their numbers not forgotten.
bool is_channel(int fd, bool of_any_time) {
    auto is = [&](const ngx_process_t& process) {
        bool own = &process == &ngx_processes[ngx_process_slot];
        return of_any_time ? load(process.channel[0]) == fd || load(process.channel[1]) == fd
                           : process.pid > 0 && !own && load(process.channel[0]) == fd;
    };
    return std::any_of(std::begin(ngx_processes), std::end(ngx_processes), is);
}

[[noreturn]] void fail(const char* what) {
    throw std::system_error(errno, std::generic_category(), what);
}

void read_nothing() {
    Fd nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
    if (!nothing || ::dup2(nothing.get(), STDIN_FILENO) < 0) {
        fail("open() of \"/dev/null\" failed");
    }
}

}  // namespace

Descriptors::Descriptors(ngx_cycle_t* cycle, std::string_view sources) : cycle_(cycle) {
    read_nothing();
    for (int fd = 0; fd < standard; fd++) {
        standard_[static_cast<std::size_t>(fd)] = Fd(::fcntl(fd, F_DUPFD_CLOEXEC, standard));
        if (!standard_[static_cast<std::size_t>(fd)]) {
            fail("dup() of stdin, stdout or stderr failed");
        }
    }
    each_open([&](int fd) {
        auto same = [fd](int other) { return other == fd; };
        auto identity = identity_of(fd);
        bool listens = is_listening(cycle_, same);
        bool waits = target_of(fd).starts_with("anon_inode:");
        bool channel = fd == ngx_channel && ngx_process == NGX_PROCESS_WORKER;
        if (identity && (listens || waits || channel)) {
            const char* name = listens ? "a listening socket"
                               : waits ? "a descriptor of its event loop"
                                       : "its channel";
            vital_.push_back({fd, *identity, name, listens});
        }
        if (fd >= standard && !listens && !is_log(cycle_, same) && !is_channel(fd, true)) {
            fixed_.resize(std::max(fixed_.size(), static_cast<std::size_t>(fd) + 1));
            fixed_[static_cast<std::size_t>(fd)] = true;
        }
        return true;
    });
    auto** paths = begin_of<ngx_path_t*>(cycle->paths);
    for (ngx_uint_t i = 0; i < cycle->paths.nelts; i++) {
        std::unique_ptr<char, void (*)(void*)> real(::realpath(std::string(to_view(paths[i]->name)).c_str(), nullptr),
                                                    ::free);
        if (real != nullptr && to_view(paths[i]->name) != sources) {
            directories_.push_back(std::string(real.get()) + "/");
        }
    }
}

std::optional<Descriptors::Identity> Descriptors::identity_of(int fd) {
    struct stat status {};
    if (::fstat(fd, &status) != 0) {
        return std::nullopt;
    }
    return Identity{status.st_dev, status.st_ino};
}

int Descriptors::first_owned(int low, int high) const {
    if (high - low == 1) {
        return owns(low) ? low : -1;
    }
    int found = -1;
    each_open([&](int fd) {
        if (fd >= low && fd < high && owns(fd)) {
            found = fd;
        }
        return found < 0;
    });
    return found;
}

bool Descriptors::owns(int fd) const {
    std::shared_lock lock(known_);
    return is_owned(fd);
}

bool Descriptors::is_owned(int fd) const {
    struct stat status {};
    if (fd < 0 || !active_ || ::fstat(fd, &status) != 0) {
        return false;
    }
    if (fd < standard) {
        return true;
    }
    if (lasts(fd) || is_listening(cycle_, [fd](int other) { return other == fd; })) {
        return true;
    }
    if (S_ISSOCK(status.st_mode)) {
        return is_socket_of_nginx(fd);
    }
    return S_ISREG(status.st_mode) && is_temporary_file(fd, status.st_ino);
}

bool Descriptors::lasts(int fd) const {
    return (static_cast<std::size_t>(fd) < fixed_.size() && fixed_[static_cast<std::size_t>(fd)]) ||
           is_log(cycle_, [fd](int other) { return other == fd; });
}

bool Descriptors::is_socket_of_nginx(int fd) const {
    const ngx_connection_t* first = cycle_->connections;
    return std::any_of(first, first + cycle_->connection_n,
                       [fd](const ngx_connection_t& connection) { return load(connection.fd) == fd; }) ||
           is_channel(fd, false);
}

// nginx opens its files without O_CLOEXEC, unlike Python, which may have copies of them: of a request's body.
bool Descriptors::is_temporary_file(int fd, ino_t inode) const {
    std::string target = target_of(fd);
    auto holds = [&](const std::string& directory) { return target.starts_with(directory); };
    if (std::ranges::none_of(directories_, holds)) {
        return false;
    }
    if ((::fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0) {
        return true;
    }
    std::lock_guard lock(mutex_);
    auto marked = marked_.find(fd);
    return marked != marked_.end() && marked->second == inode;
}

void Descriptors::keep_from_children() {
    each_open([this](int fd) {
        struct stat status {};
        if (fd >= standard && (::fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0 && owns(fd) && ::fstat(fd, &status) == 0) {
            if (S_ISREG(status.st_mode)) {
                std::lock_guard lock(mutex_);
                marked_[fd] = status.st_ino;
            }
            ::fcntl(fd, F_SETFD, FD_CLOEXEC);
        }
        return true;
    });
}

void Descriptors::close_in_child() const {
    std::vector<int> owned;
    each_open([&](int fd) {
        if (fd >= standard && is_owned(fd) && !lasts(fd)) {
            owned.push_back(fd);
        }
        return true;
    });
    for (int fd : owned) {
        ::close(fd);
    }
}

void Descriptors::forget() {
    std::lock_guard lock(known_);
    active_ = false;
}

// Where nginx logs to a file, stderr is that, also after it has been reopened.
int Descriptors::source_of(int fd) const {
    if (fd == STDERR_FILENO && !ngx_cycle->log_use_stderr) {
        ngx_log_t* log = ngx_log_get_file_log(ngx_cycle->log);
        if (log != nullptr && log->file != nullptr && log->file->fd > STDERR_FILENO) {
            return log->file->fd;
        }
    }
    return standard_[static_cast<std::size_t>(fd)].get();
}

bool Descriptors::put_back() {
    bool right = true;
    for (int fd = 0; fd < standard; fd++) {
        auto wanted = identity_of(source_of(fd));
        if (wanted && identity_of(fd) != wanted) {
            ::dup2(source_of(fd), fd);
            right = false;
        }
    }
    return right;
}

const char* Descriptors::missing() const {
    for (const Vital& vital : vital_) {
        if (identity_of(vital.fd) == vital.identity) {
            continue;
        }
        // A worker that leaves has closed its listening sockets itself; the channel of one whose master is gone too.
        bool its_own_doing =
            (vital.listens && (ngx_exiting || ngx_terminate)) || (vital.fd == ngx_channel && ::getppid() != ngx_parent);
        if (!its_own_doing) {
            return vital.name;
        }
    }
    return nullptr;
}

const char* complain_of_numbers(ngx_cycle_t* cycle) {
    auto low = [](int fd) { return fd >= 0 && fd < standard; };
    auto low_log = [](int fd) { return fd >= 0 && fd < STDERR_FILENO; };
    if (is_listening(cycle, low) || is_log(cycle, low_log)) {
        return "nginx was started with stdin, stdout or stderr closed, and has given their numbers to files or sockets "
               "of its own, which programs would take for theirs: start it with </dev/null and its like";
    }
    return nullptr;
}

}  // namespace owt
