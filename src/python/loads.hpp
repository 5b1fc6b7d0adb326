// Loads of endpoints in progress, and the calls that wait for one: they hold no thread meanwhile, and go back to the
// front of the queue when it has ended, whichever way.

#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "call/call.hpp"

namespace owt {

class Loads {
  public:
    // The process's own.
    static Loads& get();

    // Before anything else: so many calls may wait; resume gets those that wait no longer.
    void arrange(std::size_t limit, std::function<void(std::vector<CallPtr>)> resume);

    // A load begins, and gets a number that is never 0; it ends.
    std::uint64_t begin();
    void end(std::uint64_t load);

    // No more calls may wait.
    bool full();
    // Takes the call over from the thread that it ran on, if it waits for a load. False if it does not.
    bool take_over(const CallPtr& call);
    // Nobody waits for its answer any more. False if it is not here.
    bool remove(const CallPtr& call);
    // All that wait, taken out.
    std::vector<CallPtr> drain();

  private:
    std::mutex mutex_;
    std::size_t limit_ = 0;
    std::function<void(std::vector<CallPtr>)> resume_;
    std::uint64_t last_ = 0;
    std::unordered_map<std::uint64_t, std::vector<CallPtr>> waiting_;  // by the load, for each in progress
    std::size_t count_ = 0;                                            // of all that wait
};

}  // namespace owt
