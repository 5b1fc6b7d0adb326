#include "call/doorbell.hpp"

#include <sys/eventfd.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace owt {

namespace {

constexpr std::size_t most_waiting = 1 << 20;
constexpr std::size_t portion = 64 << 10;
constexpr unsigned error = 4;
constexpr unsigned warn = 5;

std::size_t size_of(const LogLine& line) {
    return sizeof(line) + line.text.size();
}

}  // namespace

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
    if (!logs(line.level)) {
        return;
    }
    leave([&] {
        // What went wrong is not lost for somebody's prints.
        std::size_t most = line.level <= error ? 2 * most_waiting : most_waiting;
        if (waiting_ + size_of(line) > most) {
            ++dropped_;
            return;
        }
        waiting_ += size_of(line);
        lines_.push_back(std::move(line));
    });
}

void Doorbell::ring() {
    leave([] {});
}

bool Doorbell::answer(std::vector<CallPtr>& calls, std::vector<LogLine>& lines) {
    std::lock_guard lock(mutex_);
    calls.swap(calls_);
    std::size_t taken = 0;
    while (!lines_.empty() && taken < portion) {
        taken += size_of(lines_.front());
        lines.push_back(std::move(lines_.front()));
        lines_.pop_front();
    }
    waiting_ -= taken;
    if (std::size_t dropped = lines_.empty() ? std::exchange(dropped_, 0) : 0; dropped > 0) {
        lines.push_back(
            {warn, 0,
             std::to_string(dropped) + " lines are missing here: more was printed or logged than could be written"});
    }
    rung_ = !lines_.empty();
    return rung_;
}

void Doorbell::reset() {
    eventfd_t count;
    [[maybe_unused]] auto n = ::eventfd_read(fd_.get(), &count);
}

}  // namespace owt
