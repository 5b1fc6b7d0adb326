#include "call/doorbell.hpp"

#include <sys/eventfd.h>

#include <cerrno>
#include <system_error>

namespace owt {

Doorbell::Doorbell() : fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    if (!fd_) {
        throw std::system_error(errno, std::generic_category(), "eventfd() failed");
    }
}

template <typename Leave>
void Doorbell::leave(Leave leave) {
    bool was_empty;
    {
        std::lock_guard lock(mutex_);
        leave();
        was_empty = !std::exchange(rung_, true);
    }
    if (was_empty) {
        // The counter cannot overflow in any process's life, so the write cannot fail or block.
        [[maybe_unused]] auto n = ::eventfd_write(fd_.get(), 1);
    }
}

void Doorbell::ring(CallPtr call) {
    leave([&] { calls_.push_back(std::move(call)); });
}

void Doorbell::log(LogLine line) {
    leave([&] { lines_.push_back(std::move(line)); });
}

void Doorbell::ring() {
    leave([] {});
}

void Doorbell::answer(std::vector<CallPtr>& calls, std::vector<LogLine>& lines) {
    std::lock_guard lock(mutex_);
    rung_ = false;
    calls.swap(calls_);
    lines.swap(lines_);
}

void Doorbell::reset() {
    eventfd_t count;
    [[maybe_unused]] auto n = ::eventfd_read(fd_.get(), &count);
}

}  // namespace owt
