#include "python/process.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>

namespace owt::python {

namespace {

struct Process {
    pid_t worker = 0;
    // The kernel empties it in whatever a fork makes: a look at it is no system call. Null if it does not do that.
    const volatile char* page = nullptr;
};

Process& process() {
    static Process process;
    return process;
}

}  // namespace

void know_process() {
    constexpr std::size_t size = 4096;
    process().worker = ::getpid();
    void* made = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (made != MAP_FAILED && ::madvise(made, size, MADV_WIPEONFORK) == 0) {
        *static_cast<char*>(made) = 1;
        process().page = static_cast<const volatile char*>(made);
    }
}

bool in_worker() {
    const Process& known = process();
    return known.page != nullptr ? *known.page != 0 : ::getpid() == known.worker;
}

}  // namespace owt::python
