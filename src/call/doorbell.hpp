// Where Python threads leave word for the event loop: calls with news and log lines. The eventfd is written only when
// the lists go from empty to not empty. Pure: knows neither nginx nor Python.

#pragma once

#include <cstdint>
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
    void ring();  // for news that is kept elsewhere

    // On the loop: what has gathered. The vectors given are reused.
    void answer(std::vector<CallPtr>& calls, std::vector<LogLine>& lines);
    // Forget a level-triggered wake-up.
    void reset();

  private:
    template <typename Leave>
    void leave(Leave leave);

    Fd fd_;
    std::mutex mutex_;
    std::vector<CallPtr> calls_;
    std::vector<LogLine> lines_;
    bool rung_ = false;
};

}  // namespace owt
