#include "python/slot.hpp"

namespace owt {

namespace {

thread_local Slot* current = nullptr;

}  // namespace

void Slot::take(const CallPtr& call) {
    current = this;
    std::lock_guard lock(mutex_);
    call_ = call;
    told_ = false;
}

void Slot::leave() {
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

void Slot::interrupt(const CallPtr& call) {
    std::lock_guard lock(mutex_);
    if (call_ == call && !told_ && !call->detached()) {
        told_ = python::interrupt(state);
    }
}

void Slot::take_back() {
    if (told_) {
        python::clear_interrupt(state);
    }
}

void settle_interrupt() {
    std::lock_guard lock(current->mutex_);
    current->take_back();
    current->told_ = true;
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
