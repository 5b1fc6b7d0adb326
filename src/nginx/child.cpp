#include "nginx/child.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

namespace owt {

Child fork_child() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
        throw std::system_error(errno, std::generic_category(), "pipe2() failed");
    }
    Fd output(ends[0]);
    Fd input(ends[1]);
    pid_t pid = ::fork();
    if (pid < 0) {
        throw std::system_error(errno, std::generic_category(), "fork() failed");
    }
    return {pid, std::move(pid == 0 ? input : output)};
}

}  // namespace owt
