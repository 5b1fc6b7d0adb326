#include "nginx/signals.hpp"

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <bitset>
#include <cerrno>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "nginx/ngx.hpp"

namespace owt {

namespace {

constexpr std::array nginx_signals = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, SIGALRM, SIGIO};

struct State {
    pid_t process = 0;
    pid_t loop_thread = 0;
    void (*nginx_handler)(int, siginfo_t*, void*) = [](int, siginfo_t*, void*) {};
    void (*quit)(pid_t) = [](pid_t) {};
};

State& state() {
    static State state;
    return state;
}

pid_t thread_id() {
    return static_cast<pid_t>(::syscall(SYS_gettid));
}

// Python's threads block no signals, so that children start with an empty mask; a signal for nginx that one of them
// receives is passed on to the loop, whose epoll_wait() it has to interrupt.
void pass_on(int signal, siginfo_t* info, void* context) {
    if (::getpid() != state().process) {
        // A process that an adaptor forked, before become_child().
        ::signal(signal, SIG_DFL);
        ::raise(signal);
    } else if (thread_id() == state().loop_thread) {
        int error = errno;
        state().nginx_handler(signal, info, context);
        if (signal == SIGQUIT) {
            state().quit(info->si_pid);
        }
        errno = error;
    } else {
        siginfo_t copy = *info;
        copy.si_code = SI_QUEUE;  // for others the kernel would not take the sender from here
        if (::syscall(SYS_rt_tgsigqueueinfo, ::getpid(), state().loop_thread, signal, &copy) != 0) {
            ::syscall(SYS_tgkill, ::getpid(), state().loop_thread, signal);
        }
    }
}

struct Master {
    Scoreboard* board = nullptr;
    bool waits = false;  // for its first fork
    void (*nginx_handler)(int, siginfo_t*, void*) = nullptr;
};

Master& master() {
    static Master master;
    return master;
}

// Not one that could not become ready: nginx ends its workers with this status as well.
bool has_served(std::size_t place) {
    constexpr std::string_view worker = "worker process";
    return master().board != nullptr && ngx_processes[place].name == worker && master().board->row(place).starts == 0;
}

// nginx's handler reaps the children that have ended, and marks one that ended with status 2 as not to be started
// again.
void reap(int signal, siginfo_t* info, void* context) {
    std::bitset<NGX_MAX_PROCESSES> respawned;
    for (std::size_t i = 0; i < respawned.size(); i++) {
        respawned[i] = ngx_processes[i].pid > 0 && !ngx_processes[i].exited && ngx_processes[i].respawn != 0;
    }
    master().nginx_handler(signal, info, context);
    for (std::size_t i = 0; i < respawned.size(); i++) {
        ngx_process_t& process = ngx_processes[i];
        if (respawned[i] && process.exited && !process.respawn && has_served(i)) {
            ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0, "owt: process %P is started again all the same",
                          process.pid);
            process.respawn = 1;
        }
    }
}

void watch_children() {
    struct sigaction action {};
    if (ngx_process != NGX_PROCESS_MASTER || master().nginx_handler != nullptr ||
        ::sigaction(SIGCHLD, nullptr, &action) != 0 || (action.sa_flags & SA_SIGINFO) == 0) {
        return;
    }
    master().nginx_handler = action.sa_sigaction;
    action.sa_sigaction = reap;
    ::sigaction(SIGCHLD, &action, nullptr);
}

}  // namespace

void arrange_signals(void (*quit)(pid_t sender)) {
    state().quit = quit;
    state().process = ::getpid();
    state().loop_thread = thread_id();
    for (int signal : nginx_signals) {
        struct sigaction action {};
        if (::sigaction(signal, nullptr, &action) == 0 && (action.sa_flags & SA_SIGINFO) != 0) {
            state().nginx_handler = action.sa_sigaction;
            action.sa_sigaction = pass_on;
            ::sigaction(signal, &action, nullptr);
        }
    }
    // nginx's handler reaps every child; Python wants their exit status.
    ::signal(SIGCHLD, SIG_DFL);
    // nginx ignores it, and children would inherit that.
    ::signal(SIGSYS, SIG_DFL);
    // Whoever calls _exit(2) is too late for this: see respawn_always().
    ::on_exit(
        [](int status, void*) {
            // exit(2), from a library perhaps, would tell the master to start no successor.
            if (status == 2 && ::getpid() == state().process) {
                ::_exit(1);
            }
        },
        nullptr);
}

void respawn_always(Scoreboard* board) {
    master().board = board;
    if (board != nullptr && !std::exchange(master().waits, true)) {
        // nginx sets its handlers later, and then forks.
        ::pthread_atfork(watch_children, nullptr, nullptr);
    }
}

void become_child() {
    for (int signal : nginx_signals) {
        ::signal(signal, SIG_DFL);
    }
}

}  // namespace owt
