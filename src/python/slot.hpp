// The place of a call on a thread of the pool, and the interrupt that may reach it there: who is told of a cancellation
// by owt.Cancelled at its next bytecode has to be told once, and not after the call has ended or left the thread.

#pragma once

#include <pthread.h>
#include <sys/types.h>

#include <atomic>
#include <memory>
#include <mutex>

#include "call/call.hpp"
#include "python/python.hpp"

namespace owt {

class Slot {
  public:
    explicit Slot(std::size_t index) : index(index) {}

    const std::size_t index;
    pthread_t thread{};
    std::atomic<pid_t> id = 0;  // as the kernel knows it
    PyThreadState* state = nullptr;

    // On the thread itself, with the GIL.
    void take(const CallPtr& call);
    void leave();

    // The call that runs here, from any thread.
    CallPtr call();
    bool runs(const Call& call);

    // Raises owt.Cancelled if this call still runs here and does not know yet. With the GIL.
    void interrupt(const CallPtr& call);
    // Written off: another thread has its place. False if this call no longer runs here. The thread cannot end
    // meanwhile: with alive something may be done to it.
    template <typename Alive>
    bool write_off(const CallPtr& call, Alive alive);
    bool lost() const { return lost_; }

  private:
    friend void settle_interrupt();
    friend bool detach(Call& call);

    void take_back();

    std::mutex mutex_;  // held for moments only, and never while taking the GIL
    CallPtr call_;
    bool told_ = false;  // owt.Cancelled is on its way, or the call has learnt of it otherwise
    std::atomic<bool> lost_ = false;
};

using SlotPtr = std::shared_ptr<Slot>;

// Of the calling thread's slot; both need the GIL.
// The thread has learnt of the cancellation by other means: take back an interrupt that is on its way.
void settle_interrupt();
// False if the call has been cancelled already; else it goes on without the thread.
bool detach(Call& call);

// ---- below: templates

template <typename Alive>
bool Slot::write_off(const CallPtr& call, Alive alive) {
    std::lock_guard lock(mutex_);
    if (call_ != call || lost_) {
        return false;
    }
    lost_ = true;
    alive();
    return true;
}

}  // namespace owt
