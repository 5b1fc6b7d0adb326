#include "call/fd.hpp"

#include <unistd.h>

namespace owt {

Fd& Fd::operator=(Fd&& other) noexcept {
    if (this != &other) {
        Fd old(std::exchange(fd_, other.release()));
    }
    return *this;
}

Fd::~Fd() {
    if (fd_ >= 0) {
        ::close(fd_);
    }
}

}  // namespace owt
