#include "python/slot.hpp"

#include <time.h>

#include <chrono>
#include <utility>

namespace owt {

namespace {

thread_local Slot* current = nullptr;

constexpr auto short_call = 10 * python::switch_interval;
constexpr auto waking_up = std::chrono::microseconds(50);  // now and then, while one waits

// The processor's time.
std::chrono::nanoseconds used_by(pthread_t thread) {
    clockid_t clock{};
    timespec time{};
    if (::pthread_getcpuclockid(thread, &clock) == 0) {
        ::clock_gettime(clock, &time);
    }
    return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

std::function<void(const CallPtr&)>& interruptible() {
    static auto& tell = *std::make_unique<std::function<void(const CallPtr&)>>().release();
    return tell;
}

}  // namespace

void Slot::take(const CallPtr& call) {
    current = this;
    std::lock_guard lock(mutex_);
    call_ = call;
    told_ = false;
    seen_ = false;
    loaded_at_ = {};
}

void Slot::leave() {
    python::end_tracing();
    std::lock_guard lock(mutex_);
    take_back();
    call_ = nullptr;
}

CallPtr Slot::call() {
    std::lock_guard lock(mutex_);
    return call_;
}

bool Slot::runs(const Call& call) {
    std::lock_guard lock(mutex_);
    return call_.get() == &call;
}

Slot::Runs Slot::look() {
    std::lock_guard lock(mutex_);
    if (call_ == nullptr) {
        return Runs::nothing;
    }
    auto used = used_by(thread);
    if (!seen_) {
        seen_ = true;
        used_at_first_ = used_ = used;
        return Runs::short_call;
    }
    bool ran = used - std::exchange(used_, used) > waking_up;
    return !ran ? Runs::waiting : used - used_at_first_ < short_call ? Runs::short_call : Runs::computation;
}

void Slot::interrupt(const CallPtr& call) {
    std::lock_guard lock(mutex_);
    if (call_ == call && !told_ && loading_ == 0 && !call->detached()) {
        told_ = python::interrupt(state);
    }
}

void Slot::take_back() {
    if (told_) {
        python::clear_interrupt(state);
    }
}

bool Slot::loading() {
    std::lock_guard lock(mutex_);
    return loading_ > 0;
}

void Slot::begin_load() {
    std::lock_guard lock(mutex_);
    if (loading_++ == 0 && call_ != nullptr) {
        take_back();  // it will be told when this has ended
        told_ = false;
        call_->load(true);
    }
}

void Slot::end_load() {
    CallPtr late;
    {
        std::lock_guard lock(mutex_);
        if (--loading_ == 0 && call_ != nullptr) {
            loaded_at_ = Clock::now();
            if (call_->waits_for() == 0) {
                call_->load(false);
            }
            if (call_->cancelled() && !told_) {
                late = call_;
            }
        }
    }
    if (late != nullptr) {
        interruptible()(late);
    }
}

void load_begins() {
    if (current != nullptr) {
        current->begin_load();
    }
}

void load_ends() {
    if (current != nullptr) {
        current->end_load();
    }
}

void on_interruptible(std::function<void(const CallPtr&)> tell) {
    interruptible() = std::move(tell);
}

void settle_interrupt() {
    if (current == nullptr) {
        return;
    }
    std::lock_guard lock(current->mutex_);
    current->take_back();
    current->told_ = true;
}

void interrupt_again() {
    if (current == nullptr) {
        return;
    }
    CallPtr deaf;
    {
        std::lock_guard lock(current->mutex_);
        if (current->call_ != nullptr && current->call_->cancelled() && current->loading_ == 0) {
            current->told_ = false;
            deaf = current->call_;
        }
    }
    if (deaf != nullptr) {
        interruptible()(deaf);
    }
}

bool detach(Call& call) {
    std::lock_guard lock(current->mutex_);
    current->take_back();
    if (call.cancelled()) {
        current->told_ = true;
        return false;
    }
    call.detach();
    return true;
}

}  // namespace owt
