// The pool of this process, put together: what the event loop calls.

#include "call/pool.hpp"

#include <memory>
#include <stdexcept>

#include "python/growth.hpp"
#include "python/native.hpp"
#include "python/queue.hpp"
#include "python/supervisor.hpp"
#include "python/threads.hpp"
#include "python/watchdog.hpp"

namespace owt {

namespace {

class PythonPool final : public Pool {
  public:
    PythonPool(const Settings& settings, Doorbell& doorbell) : settings_(settings), doorbell_(doorbell) {
        queue_.on_starving([this] { supervisor_.grow(); });
        threads_.enter();
        if (!start_thread([this] { supervisor_.run(); }) || !start_thread([this] { watchdog_.run(); })) {
            throw std::runtime_error(
                "the system gives this process no thread: raise the limit of processes (ulimit -u, TasksMax= of "
                "systemd, the container's pids)");
        }
    }

    bool ready() const override { return supervisor_.ready(); }
    Health health() const override { return threads_.health(); }
    bool submit(CallPtr call) override { return queue_.push(std::move(call)); }
    void kick() override { queue_.kick(); }
    void resume(CallPtr call) override { supervisor_.resume(std::move(call)); }

    void cancel(const CallPtr& call) override {
        if (!call->cancel()) {
            return;
        }
        if (queue_.remove(call)) {
            call->finished();
            return;
        }
        supervisor_.cancel(call);
        watchdog_.watch(call);
    }

    bool stop(std::chrono::milliseconds deadline) override {
        auto until = Clock::now() + deadline;
        for (const CallPtr& call : queue_.stop()) {
            call->cancel();
        }
        for (const CallPtr& call : threads_.running()) {
            cancel(call);
        }
        supervisor_.stop(until);
        return threads_.wait_for_end(0, until);
    }

  private:
    const Settings settings_;
    Doorbell& doorbell_;
    Queue queue_{settings_.queue, settings_.threads, settings_.most_threads};
    Threads threads_{settings_, doorbell_, queue_};
    Growth growth_{queue_, threads_};
    Supervisor supervisor_{settings_, doorbell_, threads_, growth_};
    Watchdog watchdog_{settings_, doorbell_, queue_, threads_, supervisor_};
};

}  // namespace

Pool& start_pool(const Settings& settings, Doorbell& doorbell) {
    return *std::make_unique<PythonPool>(settings, doorbell).release();
}

}  // namespace owt
