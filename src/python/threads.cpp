#include "python/threads.hpp"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <array>

#include "call/hooks.hpp"
#include "python/bindings.hpp"
#include "python/native.hpp"

namespace owt {

namespace {

constexpr unsigned most_failures = 3;

void hook_detached([[maybe_unused]] const char* name) {
#ifdef OWT_TEST_HOOKS
    python::Detached detached;
    hook(name);
#endif
}

// What a thread that was told by stack_signal() has written of itself.
std::string read_stack() {
    std::string stack;
    std::array<char, 4096> block;
    pollfd readable{python::stack_pipe(), POLLIN, 0};
    // The handler writes at once; then comes silence.
    while (::poll(&readable, 1, stack.empty() ? 1000 : 50) > 0) {
        ssize_t n = ::read(readable.fd, block.data(), block.size());
        if (n <= 0) {
            break;
        }
        stack.append(block.data(), static_cast<std::size_t>(n));
    }
    return stack;
}

}  // namespace

void Threads::add() {
    SlotPtr slot;
    {
        std::lock_guard lock(slots_mutex_);
        slot = std::make_shared<Slot>(next_index_++);
        slots_.push_back(slot);
    }
    enter();
    start_thread([this, slot] { serve(slot); }, &slot->thread);
}

void Threads::serve(const SlotPtr& slot) {
    {
        python::Thread thread;
        slot->state = thread.state();
        thread.attach();
        python::thread_started(slot->index);
        while (!slot->lost()) {
            CallPtr call = next(thread);
            if (call == nullptr) {
                break;
            }
            run(*slot, call);
        }
        thread.detach();
    }
    {
        std::lock_guard lock(slots_mutex_);
        slots_.remove(slot);
        if (slot->lost()) {
            --lost_;
        }
    }
    if (slot->lost()) {
        doorbell_.log(
            {6, 0, "thread " + std::to_string(slot->index) + ", which had been written off, came back and ends"});
    } else {
        leave();
    }
}

// Null if the thread is to end.
CallPtr Threads::next(python::Thread& thread) {
    for (;;) {
        if (python::releases_waiting()) {
            python::release();
        }
        if (CallPtr call = queue_.pop()) {
            return call;
        }
        thread.detach();
        bool go_on = queue_.wait();
        thread.attach();
        queue_.arrived();
        if (!go_on) {
            return nullptr;
        }
    }
}

void Threads::run(Slot& slot, const CallPtr& call) {
    hook_detached("popped");
    slot.take(call);
    call->run();
    if (!call->cancelled()) {
        count(python::run(call));
        if (::getpid() != python::process_id()) {
            ::_exit(0);  // a child that the adaptor forked and forgot to end
        }
    }
    hook_detached("ran");
    slot.leave();
    if (!call->detached() && !call->hand_back()) {
        call->finished();
    }
}

SlotPtr Threads::slot_of(const Call& call) {
    std::lock_guard lock(slots_mutex_);
    for (const SlotPtr& slot : slots_) {
        if (slot->runs(call)) {
            return slot;
        }
    }
    return nullptr;
}

std::vector<CallPtr> Threads::running() {
    std::vector<CallPtr> calls;
    std::lock_guard lock(slots_mutex_);
    for (const SlotPtr& slot : slots_) {
        if (CallPtr call = slot->call()) {
            calls.push_back(std::move(call));
        }
    }
    return calls;
}

bool Threads::write_off(const CallPtr& call, const std::string& what) {
    SlotPtr slot = slot_of(*call);
    if (slot == nullptr || !slot->write_off(call, [&] { ::pthread_kill(slot->thread, python::stack_signal()); })) {
        return false;
    }
    std::size_t lost = count_lost();
    doorbell_.log({4, call->asked.connection,
                   what + ": its thread is written off and replaced (" + std::to_string(lost) + " of " +
                       std::to_string(settings_.threads) + " lost)"});
    doorbell_.log({4, call->asked.connection, read_stack()});
    leave();
    add();
    return true;
}

std::size_t Threads::count_lost() {
    std::lock_guard lock(slots_mutex_);
    ++lost_;
    if (lost_ >= settings_.threads) {
        wear_out("it has lost its threads");
    }
    return lost_;
}

void Threads::wear_out(std::string why) {
    {
        std::lock_guard lock(why_mutex_);
        if (why_.empty()) {
            why_ = std::move(why);
        }
    }
    worn_out_ = true;
    doorbell_.ring();
}

std::string Threads::why() const {
    std::lock_guard lock(why_mutex_);
    return why_;
}

// A single failure may be its caller's doing; several in a row say that somebody has damaged what all depend on.
void Threads::count(bool sound) {
    if (sound) {
        if (failures_.load(std::memory_order_relaxed) != 0) {
            failures_ = 0;
        }
    } else if (++failures_ == most_failures) {
        wear_out(std::to_string(most_failures) + " calls in a row failed outside of the adaptors' own code");
    }
}

void Threads::enter() {
    std::lock_guard lock(count_mutex_);
    ++count_;
}

void Threads::leave() {
    std::lock_guard lock(count_mutex_);
    --count_;
    ended_.notify_all();
}

bool Threads::wait_for_end(std::size_t left, Clock::time_point deadline) {
    std::unique_lock lock(count_mutex_);
    return ended_.wait_until(lock, deadline, [&] { return count_ <= left; });
}

}  // namespace owt
