// When one more thread is due: calls wait, and every thread of the pool waits for something that is not Python (input,
// a lock, a child, perhaps a call to this very server), so that nothing would come of waiting. Threads that compute,
// with the GIL or without it, are no reason for more of them.

#pragma once

#include <chrono>

#include "python/queue.hpp"
#include "python/threads.hpp"

namespace owt {

class Growth {
  public:
    Growth(Queue& queue, Threads& threads) : queue_(queue), threads_(threads) {}

    // Looks, and adds a thread if that is due. How long to wait before it looks again; zero: calls wait no more.
    // state is the calling thread's, detached.
    std::chrono::milliseconds look(PyThreadState* state);

  private:
    Queue& queue_;
    Threads& threads_;
    std::uint64_t taken_ = 0;
    unsigned quiet_ = 0;  // times in a row that nobody did anything
};

}  // namespace owt
