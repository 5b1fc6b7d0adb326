#include "python/supervisor.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "call/hooks.hpp"
#include "python/python.hpp"

namespace owt {

using namespace std::chrono_literals;

namespace {

constexpr auto retry_interrupt = 10ms;  // while the thread is inside an import
constexpr auto gather_releases = 20ms;
constexpr auto first_pause = 1s;  // between attempts to preload
constexpr auto longest_pause = 60s;

}  // namespace

void Supervisor::add(Task task) {
    std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    changed_.notify_one();
}

void Supervisor::grow() {
    std::lock_guard lock(mutex_);
    grow_ = true;
    changed_.notify_one();
}

void Supervisor::ping() {
    std::lock_guard lock(mutex_);
    pinged_ = true;
    changed_.notify_one();
}

void Supervisor::relieve(std::size_t limit) {
    std::lock_guard lock(mutex_);
    relieve_ = limit;
    changed_.notify_one();
}

void Supervisor::drop(std::string code_id) {
    std::lock_guard lock(mutex_);
    drops_.push_back(std::move(code_id));
    changed_.notify_one();
}

void Supervisor::stop(Clock::time_point deadline) {
    std::lock_guard lock(mutex_);
    stop_requested_ = true;
    stop_deadline_ = deadline;
    changed_.notify_all();
}

// False if the process has to stop within that time.
bool Supervisor::wait(std::chrono::seconds pause) {
    std::unique_lock lock(mutex_);
    return !changed_.wait_for(lock, pause, [&] { return stop_requested_; });
}

void Supervisor::run() {
    if (settings_.pause > 0s) {
        log(4, "the processes before this one ended before they were ready: Python starts in " +
                   std::to_string(settings_.pause.count()) + " s");
        if (!wait(settings_.pause)) {
            threads_.leave();
            return;
        }
    }
    try {
        python::start(settings_, doorbell_);
    } catch (const std::exception& error) {
        log(4, std::string("Python did not start: ") + error.what());
        wait(first_pause);  // a new process starts anew, after one that is longer each time
        threads_.decline(Pool::Health::worn_out, "Python did not start");
        threads_.leave();
        return;
    }
    python::on_retirement([this](std::string why) { threads_.decline(Pool::Health::worn_out, std::move(why)); });
    python::on_relieved([this](bool helped) {
        relief_helped_ = helped;
        ++reliefs_;
    });
    python::on_release([this] {
        std::lock_guard lock(mutex_);
        changed_.notify_one();
    });
    if (preload_all()) {
        python::preloaded();
        if (!settings_.published.empty()) {
            python::publish(settings_.published);
        }
        python::Detached detached;
        if (start_threads()) {
            ready_ = true;
            doorbell_.ring();
        }
        watch();
    }
    {
        // The threads end one after the other as they come back from Python.
        python::Detached detached;
        threads_.wait_for_end(1, stop_deadline_ - (stop_deadline_ - Clock::now()) / 3);
    }
    python::stop(std::chrono::duration<double>(stop_deadline_ - Clock::now()).count() * 0.8);
    PyEval_SaveThread();
    threads_.leave();
}

// False if the process has to stop before all modules could be imported.
bool Supervisor::preload_all() {
    for (const std::string& module : settings_.preload) {
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
    std::lock_guard lock(mutex_);
    return !stop_requested_;
}

// False if there is none: a new process starts anew.
bool Supervisor::start_threads() {
    std::size_t started = 0;
    while (started < settings_.threads && threads_.add()) {
        ++started;
    }
    if (started < settings_.threads) {
        log(4, "the system gives this process " + std::to_string(started) + " of " + std::to_string(settings_.threads) +
                   " threads: raise the limit of processes (ulimit -u, TasksMax= of systemd, the container's pids)" +
                   (started == 0 ? ", a new process will try again" : ", calls run on these"));
    }
    if (started == 0) {
        wait(first_pause);
        threads_.decline(Pool::Health::worn_out, "the system gives it no threads");
    }
    return started > 0;
}

// Serves tasks until stop() asks for the end. Takes the GIL only where there is something to do.
void Supervisor::watch() {
    PyThreadState* state = PyGILState_GetThisThreadState();
    std::vector<Task> round;
    std::chrono::milliseconds look_again{0};
    for (;;) {
        bool stop;
        bool pinged;
        std::size_t relieve;
        std::vector<std::string> drops;
        {
            std::unique_lock lock(mutex_);
            auto news = [&] {
                return stop_requested_ || pinged_ || relieve_ != 0 || !drops_.empty() || !tasks_.empty();
            };
            if (!round.empty()) {
                changed_.wait_for(lock, retry_interrupt, news);
            } else if (look_again > 0ms) {
                changed_.wait_for(lock, look_again, news);
            } else {
                changed_.wait(lock, [&] { return news() || grow_ || python::releases_waiting(); });
                if (!news() && !grow_) {
                    changed_.wait_for(lock, gather_releases, news);
                }
            }
            round.insert(round.end(), std::make_move_iterator(tasks_.begin()), std::make_move_iterator(tasks_.end()));
            tasks_.clear();
            stop = stop_requested_;
            pinged = std::exchange(pinged_, false);
            relieve = std::exchange(relieve_, 0);
            drops.swap(drops_);
            if (std::exchange(grow_, false)) {
                look_again = 1ms;
            }
        }
        if (!round.empty() || pinged || relieve != 0 || !drops.empty() || python::releases_waiting()) {
            hook("deliver");
            PyEval_RestoreThread(state);
            ++heartbeats_;
            std::erase_if(round, [&](const Task& task) { return deliver(task); });
            python::release();
            if (relieve != 0) {
                python::relieve(relieve);
            }
            for (const std::string& code_id : drops) {
                python::drop(code_id);
            }
            PyEval_SaveThread();
        }
        if (stop) {
            return;
        }
        if (look_again > 0ms) {
            look_again = growth_.look(state);
        }
    }
}

// With the GIL. False if the task has to be tried again.
bool Supervisor::deliver(const Task& task) {
    if (task.call->state() == Call::State::done) {
        return true;
    }
    if (task.kind == Task::Kind::resume) {
        python::resume_task(task.call);
        return true;
    }
    if (task.kind == Task::Kind::overdue) {
        if (python::overdue_task(task.call)) {
            threads_.count_lost();
        }
        return true;
    }
    if (task.call->detached()) {
        python::cancel_task(task.call);
        return true;
    }
    SlotPtr slot = threads_.slot_of(*task.call);
    if (slot == nullptr || slot->loading()) {
        return true;  // a load is let alone: it tells when it has ended
    }
    if (python::importing(slot->state, slot->thread)) {
        return false;
    }
    slot->interrupt(task.call);
    return true;
}

}  // namespace owt
