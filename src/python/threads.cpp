#include "python/threads.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <thread>
#include <utility>

#include "call/hooks.hpp"
#include "call/trace.hpp"
#include "python/bindings.hpp"
#include "python/loads.hpp"
#include "python/native.hpp"
#include "python/process.hpp"

namespace owt {

namespace {

constexpr unsigned most_failures = 3;
constexpr auto interrupts = python::switch_interval * 9 / 10;  // who waits for so long
constexpr int quiet_looks = 3;                                 // one may be for want of a processor
constexpr auto hand_over = std::chrono::microseconds(100);     // until another thread has the GIL that was let go

void hook_detached([[maybe_unused]] const char* name) {
#ifdef OWT_TEST_HOOKS
    python::Detached detached;
    hook(name);
#endif
}

// As /proc tells it (proc(5)): the state follows the name, which stands in parentheses.
bool is_asleep(pid_t thread) {
    std::array<char, 128> text{};
    Fd file(::open(("/proc/self/task/" + std::to_string(thread) + "/stat").c_str(), O_RDONLY | O_CLOEXEC));
    ssize_t n = file ? ::read(file.get(), text.data(), text.size()) : -1;
    std::string_view stat(text.data(), n > 0 ? static_cast<std::size_t>(n) : 0);
    std::size_t name = stat.rfind(')');
    return name != std::string_view::npos && name + 2 < stat.size() && (stat[name + 2] == 'S' || stat[name + 2] == 'D');
}

}  // namespace

bool Threads::add() {
    SlotPtr slot;
    {
        std::lock_guard lock(slots_mutex_);
        slot = std::make_shared<Slot>(next_index_++);
        slots_.push_back(slot);
    }
    enter();
    queue_.enter();
    if (start_thread([this, slot] { serve(slot); }, &slot->thread)) {
        return true;
    }
    queue_.leave();
    leave();
    std::lock_guard lock(slots_mutex_);
    slots_.remove(slot);
    return false;
}

void Threads::serve(const SlotPtr& slot) {
    {
        python::Thread thread;
        slot->state = thread.state();
        slot->id = ::gettid();
        thread.attach();
        python::thread_started(slot->index);
        // What a call holds, a spooled body perhaps, goes before the thread sleeps.
        bool ran = false;
        while (CallPtr call = slot->lost() ? nullptr : next(thread, ran)) {
            run(*slot, call);
            ran = true;
        }
        python::thread_ended();
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
CallPtr Threads::next(python::Thread& thread, bool ran) {
    for (;;) {
        if (python::releases_waiting()) {
            python::release();
        }
        if (CallPtr call = queue_.next(std::exchange(ran, false))) {
            return call;
        }
        thread.detach();
        bool go_on = queue_.wait();
        attach_in_turn(thread);
        queue_.arrived();
        if (!go_on) {
            return nullptr;
        }
    }
}

// Who waits long enough for the GIL interrupts whoever has it, in the middle of a call perhaps; others then go on with
// the queue, and that call waits for all that came after it. So a short call that was interrupted goes on first, unless
// computations are about: these take turns, and the more threads run short calls the more turns are theirs.
void Threads::attach_in_turn(python::Thread& thread) {
    if constexpr (!python::has_gil) {
        thread.attach();
        return;
    }
    look();
    for (int quiet = 0; quiet < quiet_looks;) {
        auto begin = Clock::now();
        thread.attach();
        if (Clock::now() - begin < interrupts) {
            return;
        }
        Slot::Runs what = look();
        if (what == Slot::Runs::nothing || what == Slot::Runs::computation) {
            return;
        }
        quiet = what == Slot::Runs::waiting ? quiet + 1 : 0;
        if (quiet < quiet_looks) {
            thread.detach();
            std::this_thread::sleep_for(hand_over);
        }
    }
}

Slot::Runs Threads::look() {
    auto all = Slot::Runs::nothing;
    std::lock_guard lock(slots_mutex_);
    for (const SlotPtr& slot : slots_) {
        all = std::max(all, slot->look());
    }
    return all;
}

void Threads::run(Slot& slot, const CallPtr& call) {
    hook_detached("popped");
    slot.take(call);
    call->run();
    if (!call->cancelled()) {
        count(python::run(call));
        if (!python::in_worker()) {
            ::_exit(0);  // a child that the adaptor forked and forgot to end
        }
    }
    hook_detached("ran");
    slot.leave();
    if (!call->detached() && !Loads::get().take_over(call) && !call->hand_back()) {
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
    if (slot == nullptr || !slot->write_off(call, settings_.grace, [&] { python::ask_for_stack(slot->thread); })) {
        return false;
    }
    queue_.write_off();
    std::size_t lost = count_lost();
    doorbell_.log({4, call->asked.connection,
                   what + ": its thread is written off and replaced (" + std::to_string(lost) + " of " +
                       std::to_string(bearable()) + " lost)" + trace_note(call->asked.environ)});
    doorbell_.log({4, call->asked.connection, python::read_stack()});
    leave();
    add();
    return true;
}

std::size_t Threads::count_lost() {
    std::lock_guard lock(slots_mutex_);
    ++lost_;
    if (lost_ >= bearable()) {
        decline(Pool::Health::worn_out, "it has lost its threads");
    }
    return lost_;
}

std::size_t Threads::lost() {
    std::lock_guard lock(slots_mutex_);
    return lost_;
}

void Threads::count_back() {
    std::lock_guard lock(slots_mutex_);
    --lost_;
}

// A process with one thread and a warm model is not given away for the first client that leaves too early.
std::size_t Threads::bearable() const {
    return std::max<std::size_t>(settings_.threads, 8);
}

void Threads::decline(Pool::Health health, std::string why) {
    {
        std::lock_guard lock(why_mutex_);
        if (why_.empty()) {
            why_ = std::move(why);
        }
    }
    Pool::Health before = health_;
    while (before < health && !health_.compare_exchange_weak(before, health)) {
    }
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
        decline(Pool::Health::worn_out,
                std::to_string(most_failures) + " calls in a row failed outside of the adaptors' own code");
    }
}

bool Threads::all_asleep() {
    std::lock_guard lock(slots_mutex_);
    return std::ranges::all_of(slots_, [](const SlotPtr& slot) { return slot->lost() || is_asleep(slot->id); });
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
