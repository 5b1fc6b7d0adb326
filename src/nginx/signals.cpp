#include "nginx/signals.hpp"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>

#include "nginx/ngx.hpp"

namespace owt {

namespace {

constexpr std::array nginx_signals = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, SIGALRM, SIGIO};

struct State {
    pid_t process = 0;
    pid_t loop_thread = 0;
    void (*nginx_handler)(int, siginfo_t*, void*) = nullptr;
    void (*quit)(pid_t) = nullptr;
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
    ::on_exit(
        [](int status, void*) {
            // exit(2), from a library perhaps, would tell the master to start no successor.
            if (status == 2 && ::getpid() == state().process) {
                ::_exit(1);
            }
        },
        nullptr);
}

void become_child() {
    for (int signal : nginx_signals) {
        ::signal(signal, SIG_DFL);
    }
    auto* cycle = const_cast<ngx_cycle_t*>(ngx_cycle);
    auto* listening = static_cast<ngx_listening_t*>(cycle->listening.elts);
    for (ngx_uint_t i = 0; i < cycle->listening.nelts; i++) {
        ::close(listening[i].fd);
    }
    for (ngx_uint_t i = 0; i < cycle->connection_n; i++) {
        const ngx_connection_t& connection = cycle->connections[i];
        if (connection.fd != -1 && connection.read != nullptr && !connection.read->accept) {
            ::close(connection.fd);
        }
    }
}

}  // namespace owt
