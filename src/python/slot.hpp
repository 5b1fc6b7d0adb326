// The place of a call on a thread of the pool, and the interrupt that may reach it there: who is told of a cancellation
// by owt.Cancelled at its next bytecode has to be told once, and not after the call has ended or left the thread.

#pragma once

#include <pthread.h>
#include <sys/types.h>

#include <atomic>
#include <functional>
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
    // What has used the processor here since the last look.
    enum class Runs {
        nothing,
        waiting,      // a call that has not
        short_call,   // so far, or as far as one can tell from the first look at it
        computation,  // that goes on and on
    };
    Runs look();

    // Raises owt.Cancelled if this call still runs here and does not know yet. With the GIL. Not while it loads an
    // endpoint: see on_interruptible().
    void interrupt(const CallPtr& call);
    // Written off: another thread has its place. False if this call no longer runs here, or has loaded an endpoint
    // within the last grace. The thread cannot end meanwhile: with alive something may be done to it.
    template <typename Alive>
    bool write_off(const CallPtr& call, Clock::duration grace, Alive alive);
    bool lost() const { return lost_; }
    bool loading();

  private:
    friend void settle_interrupt();
    friend bool detach(Call& call);
    friend void interrupt_again();
    friend void load_begins();
    friend void load_ends();

    void take_back();
    void begin_load();
    void end_load();

    std::mutex mutex_;  // held for moments only, and never while taking the GIL
    CallPtr call_;
    bool seen_ = false;
    std::chrono::nanoseconds used_at_first_{};  // of the processor, at the first look,
    std::chrono::nanoseconds used_{};           // and at the last
    bool told_ = false;                         // owt.Cancelled is on its way, or the call has learnt of it otherwise
    std::atomic<bool> lost_ = false;
    int loading_ = 0;  // a load may import another endpoint
    Clock::time_point loaded_at_;
};

using SlotPtr = std::shared_ptr<Slot>;

// Of the calling thread's slot; all need the GIL.
// The thread has learnt of the cancellation by other means: take back an interrupt that is on its way.
void settle_interrupt();
// False if the call has been cancelled already; else it goes on without the thread.
bool detach(Call& call);
// owt.Cancelled was raised where no exception leaves, as in a finalizer: the call has not learnt of it.
void interrupt_again();

// The calling thread begins to load an endpoint, which is neither interrupted nor written off; or it has ended that.
// For threads without a slot too, where nothing has to be done.
void load_begins();
void load_ends();
// Is told of a cancelled call that has not learnt of it and may be interrupted now: it has ended its load, or was
// interrupted in vain. Set before any thread runs.
void on_interruptible(std::function<void(const CallPtr&)> tell);

// ---- below: templates

template <typename Alive>
bool Slot::write_off(const CallPtr& call, Clock::duration grace, Alive alive) {
    std::lock_guard lock(mutex_);
    if (call_ != call || lost_ || loading_ > 0 || Clock::now() < loaded_at_ + grace) {
        return false;
    }
    lost_ = true;
    alive();
    return true;
}

}  // namespace owt
