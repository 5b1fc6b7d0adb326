// How work reaches Python: the loop puts a call on the queue and, once per batch, wakes at most one idle thread. That
// thread waits for the GIL without having taken a call, so whoever has the GIL goes on draining the queue, and when
// a call lets the GIL go (it blocks) the thread that was woken goes on with the next and wakes another. So short calls
// cost no switches and long ones hold up nobody.

#include "python/python.hpp"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <deque>
#include <list>
#include <stdexcept>

#include "call/hooks.hpp"

namespace owt {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t thread_stack = 8 << 20;  // recursion must end in a RecursionError, not in a crash
constexpr auto retry_interrupt = 10ms;         // while the thread is inside an import
constexpr auto gather_releases = 20ms;
constexpr auto first_pause = 1s;  // between attempts to preload
constexpr auto longest_pause = 60s;

// A thread of the pool and the call that it runs. Its mutex is held for moments only, and never while taking the GIL.
struct Slot {
    std::size_t index = 0;
    pthread_t thread{};

    std::mutex mutex;
    CallPtr call;
    PyThreadState* state = nullptr;
    bool told = false;               // owt.Cancelled is on its way, or the call has learnt of it otherwise
    std::atomic<bool> lost = false;  // written off: another thread has its place
};

using SlotPtr = std::shared_ptr<Slot>;

thread_local Slot* current = nullptr;

void hook_detached([[maybe_unused]] const char* name) {
#ifdef OWT_TEST_HOOKS
    python::Detached detached;
    hook(name);
#endif
}

void start_thread(pthread_t& thread, std::unique_ptr<std::function<void()>> body) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, thread_stack);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    auto entry = [](void* argument) -> void* {
        std::unique_ptr<std::function<void()>> body(static_cast<std::function<void()>*>(argument));
        (*body)();
        return nullptr;
    };
    int error = pthread_create(&thread, &attributes, entry, body.get());
    pthread_attr_destroy(&attributes);
    if (error != 0) {
        throw std::runtime_error("pthread_create() failed");
    }
    static_cast<void>(body.release());  // the thread owns it
}

}  // namespace

struct Pool::Impl {
    struct Task {
        enum class Kind { cancel, resume, overdue } kind;
        CallPtr call;
    };
    struct Deadline {
        Clock::time_point at;
        std::weak_ptr<Call> call;
    };

    Impl(const Settings& settings, Doorbell& doorbell) : settings(settings), doorbell(doorbell) {}

    const Settings settings;
    Doorbell& doorbell;
    std::atomic<bool> ready = false;
    std::atomic<bool> worn_out = false;

    // The queue.
    std::mutex mutex;
    std::condition_variable work;
    std::deque<CallPtr> queue;
    std::size_t idle = 0;    // threads that wait for work
    std::size_t coming = 0;  // woken and not yet at the queue
    std::size_t wakes = 0;   // of these, how many have still to take notice
    bool stopping = false;

    std::mutex slots_mutex;
    std::list<SlotPtr> slots;
    std::size_t lost = 0;
    std::size_t next_index = 0;

    std::mutex tasks_mutex;
    std::condition_variable tasks_changed;
    std::vector<Task> tasks;
    bool stop_requested = false;
    Clock::time_point stop_deadline;

    std::mutex deadlines_mutex;
    std::condition_variable deadlines_changed;
    std::deque<Deadline> deadlines;  // in order: grace is the same for all

    std::mutex threads_mutex;
    std::condition_variable thread_ended;
    std::size_t threads = 0;  // native threads that live, supervisor included, watchdog and lost ones not

    void log(unsigned level, std::string text) { doorbell.log({level, 0, std::move(text)}); }

    CallPtr pop();
    CallPtr next(python::Thread& thread);
    void wake();
    void add_thread();
    void thread_main(const SlotPtr& slot);
    void run(Slot& slot, const CallPtr& call);
    SlotPtr slot_of(const Call& call);

    void supervise();
    bool wait(std::chrono::seconds pause);
    bool preload_all();
    void watch();
    bool deliver(const Task& task);

    void guard();
    void write_off(const CallPtr& call);
    void count_lost();
    void add_task(Task task);
    std::string read_stack();
    void thread_exits();
};

// --- The queue and the threads.

// With the mutex held: at most one thread is on its way at a time.
void Pool::Impl::wake() {
    if (!queue.empty() && coming == 0 && idle > 0) {
        ++coming;
        ++wakes;
        work.notify_one();
    }
}

CallPtr Pool::Impl::pop() {
    std::lock_guard lock(mutex);
    if (queue.empty() || stopping) {
        return nullptr;
    }
    CallPtr call = std::move(queue.front());
    queue.pop_front();
    wake();
    return call;
}

CallPtr Pool::Impl::next(python::Thread& thread) {
    for (;;) {
        if (python::releases_waiting()) {
            python::release();
        }
        if (CallPtr call = pop()) {
            return call;
        }
        thread.detach();
        bool stop;
        {
            std::unique_lock lock(mutex);
            ++idle;
            work.wait(lock, [&] { return stopping || wakes > 0 || (!queue.empty() && coming == 0); });
            --idle;
            stop = stopping;
            if (wakes > 0) {
                --wakes;
            } else {
                ++coming;
            }
        }
        thread.attach();
        {
            std::lock_guard lock(mutex);
            --coming;
        }
        if (stop) {
            return nullptr;
        }
    }
}

void Pool::Impl::add_thread() {
    auto slot = std::make_shared<Slot>();
    {
        std::lock_guard lock(slots_mutex);
        slot->index = next_index++;
        slots.push_back(slot);
    }
    {
        std::lock_guard lock(threads_mutex);
        ++threads;
    }
    start_thread(slot->thread, std::make_unique<std::function<void()>>([this, slot] { thread_main(slot); }));
}

void Pool::Impl::thread_main(const SlotPtr& slot) {
    {
        python::Thread thread;
        current = slot.get();
        slot->state = thread.state();
        thread.attach();
        python::thread_started(slot->index);
        while (!slot->lost) {
            CallPtr call = next(thread);
            if (call == nullptr) {
                break;
            }
            run(*slot, call);
        }
        thread.detach();
    }
    {
        std::lock_guard lock(slots_mutex);
        slots.remove(slot);
        if (slot->lost) {
            --lost;
        }
    }
    if (slot->lost) {
        log(6, "thread " + std::to_string(slot->index) + ", which had been written off, came back and ends");
    } else {
        thread_exits();
    }
}

void Pool::Impl::thread_exits() {
    std::lock_guard lock(threads_mutex);
    --threads;
    thread_ended.notify_all();
}

void Pool::Impl::run(Slot& slot, const CallPtr& call) {
    hook_detached("popped");
    {
        std::lock_guard lock(slot.mutex);
        slot.call = call;
        slot.told = false;
    }
    call->run();
    if (!call->cancelled()) {
        python::run(call);
        if (::getpid() != python::process_id()) {
            ::_exit(0);  // a child that the adaptor forked and forgot to end
        }
    }
    hook_detached("ran");
    {
        std::lock_guard lock(slot.mutex);
        if (slot.told) {
            python::clear_interrupt(slot.state);
        }
        slot.call = nullptr;
    }
    if (!call->detached() && !call->hand_back()) {
        call->finished();
    }
}

SlotPtr Pool::Impl::slot_of(const Call& call) {
    std::lock_guard lock(slots_mutex);
    for (const SlotPtr& slot : slots) {
        std::lock_guard slot_lock(slot->mutex);
        if (slot->call.get() == &call) {
            return slot;
        }
    }
    return nullptr;
}

void settle_interrupt() {
    std::lock_guard lock(current->mutex);
    if (current->told) {
        python::clear_interrupt(current->state);
    }
    current->told = true;
}

bool detach(Call& call) {
    std::lock_guard lock(current->mutex);
    if (current->told) {
        python::clear_interrupt(current->state);
    }
    if (call.cancelled()) {
        current->told = true;
        return false;
    }
    call.detach();
    return true;
}

// --- The supervisor.

void Pool::Impl::add_task(Task task) {
    std::lock_guard lock(tasks_mutex);
    tasks.push_back(std::move(task));
    tasks_changed.notify_one();
}

// False if the process has to stop within that time.
bool Pool::Impl::wait(std::chrono::seconds pause) {
    std::unique_lock lock(tasks_mutex);
    return !tasks_changed.wait_for(lock, pause, [&] { return stop_requested; });
}

void Pool::Impl::supervise() {
    if (settings.pause > 0s) {
        log(4, "the processes before this one ended before they were ready: Python starts in " +
                   std::to_string(settings.pause.count()) + " s");
        if (!wait(settings.pause)) {
            thread_exits();
            return;
        }
    }
    try {
        python::start(settings, doorbell);
    } catch (const std::exception& error) {
        log(4, std::string("Python did not start: ") + error.what());
        wait(longest_pause);
        worn_out = true;  // a new process starts anew
        doorbell.ring();
        thread_exits();
        return;
    }
    python::on_release([this] {
        std::lock_guard lock(tasks_mutex);
        tasks_changed.notify_one();
    });
    if (preload_all()) {
        python::preloaded();
        python::Detached detached;
        for (std::size_t i = 0; i < settings.threads; i++) {
            add_thread();
        }
        ready = true;
        doorbell.ring();
        watch();
    }
    {
        // The threads end one after the other as they come back from Python.
        python::Detached detached;
        std::unique_lock lock(threads_mutex);
        thread_ended.wait_until(lock, stop_deadline - (stop_deadline - Clock::now()) / 3, [&] { return threads == 1; });
    }
    python::stop(std::chrono::duration<double>(stop_deadline - Clock::now()).count() * 0.8);
    PyEval_SaveThread();
    thread_exits();
}

// False if the process has to stop before all modules could be imported.
bool Pool::Impl::preload_all() {
    for (const std::string& module : settings.preload) {
        std::chrono::seconds pause = first_pause;
        while (auto traceback = python::preload(module)) {
            log(4, "preload " + module + " failed, next attempt in " + std::to_string(pause.count()) +
                       " s: " + *traceback);
            python::Detached detached;
            if (!wait(pause)) {
                return false;
            }
            pause = std::min<std::chrono::seconds>(pause * 2, longest_pause);
        }
    }
    std::lock_guard lock(tasks_mutex);
    return !stop_requested;
}

// Serves tasks until stop() asks for the end. Takes the GIL only where there is something to do.
void Pool::Impl::watch() {
    PyThreadState* state = PyGILState_GetThisThreadState();
    std::vector<Task> round;
    for (;;) {
        bool stop;
        {
            std::unique_lock lock(tasks_mutex);
            auto news = [&] { return stop_requested || !tasks.empty(); };
            if (!round.empty()) {
                tasks_changed.wait_for(lock, retry_interrupt, news);
            } else {
                tasks_changed.wait(lock, [&] { return news() || python::releases_waiting(); });
                if (!news()) {
                    tasks_changed.wait_for(lock, gather_releases, news);
                }
            }
            round.insert(round.end(), std::make_move_iterator(tasks.begin()), std::make_move_iterator(tasks.end()));
            tasks.clear();
            stop = stop_requested;
        }
        if (!round.empty() || python::releases_waiting()) {
            hook("deliver");
            PyEval_RestoreThread(state);
            std::erase_if(round, [&](const Task& task) { return deliver(task); });
            python::release();
            PyEval_SaveThread();
        }
        if (stop) {
            return;
        }
    }
}

// With the GIL. False if the task has to be tried again.
bool Pool::Impl::deliver(const Task& task) {
    if (task.call->state() == Call::State::done) {
        return true;
    }
    if (task.kind == Task::Kind::resume) {
        python::resume_task(task.call);
        return true;
    }
    if (task.kind == Task::Kind::overdue) {
        if (python::overdue_task(task.call)) {
            std::lock_guard lock(slots_mutex);
            count_lost();
        }
        return true;
    }
    if (task.call->detached()) {
        python::cancel_task(task.call);
        return true;
    }
    SlotPtr slot = slot_of(*task.call);
    if (slot == nullptr) {
        return true;
    }
    if (python::importing(slot->state)) {
        return false;
    }
    std::lock_guard lock(slot->mutex);
    if (slot->call == task.call && !slot->told && !task.call->detached()) {
        slot->told = python::interrupt(slot->state);
    }
    return true;
}

// --- The watchdog.

void Pool::Impl::guard() {
    for (;;) {
        CallPtr late;
        {
            std::unique_lock lock(deadlines_mutex);
            deadlines_changed.wait(lock, [&] { return !deadlines.empty(); });
            auto first = deadlines.front();
            if (deadlines_changed.wait_until(lock, first.at) == std::cv_status::no_timeout && Clock::now() < first.at) {
                continue;
            }
            late = first.call.lock();
            deadlines.pop_front();
        }
        if (late) {
            write_off(late);
        }
    }
}

// With slots_mutex.
void Pool::Impl::count_lost() {
    ++lost;
    if (lost >= settings.threads) {
        worn_out = true;
        doorbell.ring();
    }
}

void Pool::Impl::write_off(const CallPtr& call) {
    if (call->state() == Call::State::done) {
        return;
    }
    std::string what =
        "a call did not end within " + std::to_string(settings.grace.count()) + " ms after it was cancelled";
    if (call->detached()) {
        doorbell.log({4, call->asked.connection, what + ": its coroutine ignores CancelledError or blocks its thread"});
        add_task({Task::Kind::overdue, call});
        return;
    }
    SlotPtr slot = slot_of(*call);
    if (slot == nullptr) {
        return;
    }
    {
        std::lock_guard slots_lock(slots_mutex);
        // The thread cannot end while its slot is locked and has a call.
        std::lock_guard lock(slot->mutex);
        if (slot->call != call || slot->lost) {
            return;
        }
        slot->lost = true;
        count_lost();
        doorbell.log({4, call->asked.connection,
                      what + ": its thread is written off and replaced (" + std::to_string(lost) + " of " +
                          std::to_string(settings.threads) + " lost)"});
        pthread_kill(slot->thread, python::stack_signal());
    }
    doorbell.log({4, call->asked.connection, read_stack()});
    thread_exits();
    add_thread();
}

std::string Pool::Impl::read_stack() {
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

// --- What the event loop calls.

Pool::Pool(const Settings& settings, Doorbell& doorbell) : impl_(std::make_unique<Impl>(settings, doorbell).release()) {
    Impl* impl = impl_;
    pthread_t thread;
    impl->threads = 1;
    start_thread(thread, std::make_unique<std::function<void()>>([impl] { impl->supervise(); }));
    start_thread(thread, std::make_unique<std::function<void()>>([impl] { impl->guard(); }));
}

bool Pool::ready() const {
    return impl_->ready;
}

bool Pool::worn_out() const {
    return impl_->worn_out;
}

bool Pool::submit(CallPtr call) {
    std::lock_guard lock(impl_->mutex);
    if (impl_->queue.size() >= impl_->settings.queue || impl_->stopping) {
        return false;
    }
    impl_->queue.push_back(std::move(call));
    return true;
}

void Pool::kick() {
    std::lock_guard lock(impl_->mutex);
    impl_->wake();
}

void Pool::cancel(const CallPtr& call) {
    if (!call->cancel()) {
        return;
    }
    {
        std::lock_guard lock(impl_->mutex);
        if (std::erase(impl_->queue, call) > 0) {
            call->finished();
            return;
        }
    }
    impl_->add_task({Impl::Task::Kind::cancel, call});
    std::lock_guard lock(impl_->deadlines_mutex);
    impl_->deadlines.push_back({Clock::now() + impl_->settings.grace, call});
    impl_->deadlines_changed.notify_one();
}

void Pool::resume(CallPtr call) {
    impl_->add_task({Impl::Task::Kind::resume, std::move(call)});
}

bool Pool::stop(std::chrono::milliseconds deadline) {
    auto until = Clock::now() + deadline;
    {
        std::lock_guard lock(impl_->mutex);
        impl_->stopping = true;
        for (const CallPtr& call : impl_->queue) {
            call->cancel();
        }
        impl_->queue.clear();
        impl_->work.notify_all();
    }
    std::vector<CallPtr> running;
    {
        std::lock_guard lock(impl_->slots_mutex);
        for (const SlotPtr& slot : impl_->slots) {
            std::lock_guard slot_lock(slot->mutex);
            if (slot->call) {
                running.push_back(slot->call);
            }
        }
    }
    for (const CallPtr& call : running) {
        cancel(call);
    }
    {
        std::lock_guard lock(impl_->tasks_mutex);
        impl_->stop_requested = true;
        impl_->stop_deadline = until;
        impl_->tasks_changed.notify_all();
    }
    std::unique_lock lock(impl_->threads_mutex);
    return impl_->thread_ended.wait_until(lock, until, [&] { return impl_->threads == 0; });
}

}  // namespace owt
