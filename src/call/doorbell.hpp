// Where Python threads leave word for the event loop: calls with news and log lines. The eventfd is written only when
// the lists go from empty to not empty. Whoever prints without end can hold up nobody: of log lines only so much may
// wait, what is more is dropped and counted, and the loop takes them in portions. Pure: knows neither nginx nor Python.

#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "call/fd.hpp"

namespace owt {

class Call;
using CallPtr = std::shared_ptr<Call>;

// A line for nginx's error log, which only the event loop may write.
struct LogLine {
    unsigned level = 0;  // nginx's: 4 error, 5 warn, 6 notice, 7 info
    std::uint64_t connection = 0;
    std::string text;
};

class Doorbell {
  public:
    Doorbell();

    int fd() const { return fd_.get(); }

    // From any thread.
    void ring(CallPtr call);
    void log(LogLine line);
    bool logs(unsigned level) const { return level <= level_.load(std::memory_order_relaxed); }
    void ring();  // for news that is kept elsewhere

    // On the loop: which lines are wanted, as nginx has it: this level and those below.
    void set_level(unsigned level) { level_ = level; }
    // What has gathered; of the lines a portion. True if there are more. The vectors given are reused.
    bool answer(std::vector<CallPtr>& calls, std::vector<LogLine>& lines);
    // Forget a level-triggered wake-up.
    void reset();

  private:
    template <typename Leave>
    void leave(Leave leave);

    Fd fd_;
    std::mutex mutex_;
    std::vector<CallPtr> calls_;
    std::deque<LogLine> lines_;
    std::size_t waiting_ = 0;  // bytes, about, that the lines take
    std::size_t dropped_ = 0;  // lines
    std::atomic<unsigned> level_ = ~0U;
    bool rung_ = false;
};

}  // namespace owt
