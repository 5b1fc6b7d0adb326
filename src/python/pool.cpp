// The pool of this process, put together: what the event loop calls, and what the bridge offers.

#include "call/pool.hpp"

#include <memory>
#include <stdexcept>

#include "call/bridge.hpp"
#include "python/growth.hpp"
#include "python/loads.hpp"
#include "python/loop_queue.hpp"
#include "python/native.hpp"
#include "python/python.hpp"
#include "python/queue.hpp"
#include "python/supervisor.hpp"
#include "python/threads.hpp"
#include "python/versions.hpp"
#include "python/watchdog.hpp"

namespace owt {

namespace {

class PythonPool final : public Pool {
  public:
    PythonPool(const Settings& settings, Doorbell& doorbell) : settings_(settings), doorbell_(doorbell) {
        python::set_environment(settings_);
        queue_.on_starving([this] { supervisor_.grow(); });
        python::on_loop_back([this] { threads_.count_back(); });
        on_interruptible([this](const CallPtr& call) { interrupt(call); });
        // Who waits for a load holds no thread: the threads would have taken so many more.
        loads_.arrange(settings.queue + settings.threads,
                       [this](const std::vector<CallPtr>& calls) { queue_.put_back(calls); });
        loop_queue_.arrange(settings.async, [this](CallPtr call) {
            bool taken = queue_.push(std::move(call));
            queue_.kick();
            return taken;
        });
        threads_.enter();
        if (!start_thread([this] { supervisor_.run(); }) || !start_thread([this] { watchdog_.run(); })) {
            throw std::runtime_error(
                "the system gives this process no thread: raise the limit of processes (ulimit -u, TasksMax= of "
                "systemd, the container's pids)");
        }
    }

    bool ready() const override { return supervisor_.ready(); }
    Health health() const override { return threads_.health(); }
    std::string why() const override { return threads_.why(); }
    Load load() override {
        return {.queued = queue_.size(),
                .lost_threads = threads_.lost(),
                .reliefs = supervisor_.reliefs(),
                .relief_helped = supervisor_.relief_helped()};
    }

    std::optional<Version> version_of(const std::string& file) override { return Versions::get().find(file); }

    std::optional<Problem> submit(CallPtr call) override {
        auto pushed = loop_queue_.push(call);
        if (pushed == LoopQueue::Push::full) {
            return too_many_asynchronous();
        }
        if (pushed == LoopQueue::Push::not_mine && !queue_.push(std::move(call))) {
            return queue_full();
        }
        return std::nullopt;
    }

    void kick() override {
        loop_queue_.kick();
        queue_.kick();
    }

    void relieve(std::size_t limit) override { supervisor_.relieve(limit); }
    void drop(std::string code_id) override { supervisor_.drop(std::move(code_id)); }
    void resume(CallPtr call) override { supervisor_.resume(std::move(call)); }

    void cancel(const CallPtr& call) override {
        if (!call->cancel()) {
            return;
        }
        if (queue_.remove(call) || loop_queue_.remove(call) || loads_.remove(call)) {
            call->finished();
            return;
        }
        interrupt(call);
    }

    bool stop(std::chrono::milliseconds deadline) override {
        auto until = Clock::now() + deadline;
        for (const CallPtr& call : queue_.stop()) {
            call->cancel();
        }
        for (const CallPtr& call : loop_queue_.stop()) {
            call->cancel();
        }
        for (const CallPtr& call : loads_.drain()) {
            call->cancel();
        }
        for (const CallPtr& call : threads_.running()) {
            cancel(call);
        }
        supervisor_.stop(until);
        return threads_.wait_for_end(0, until);
    }

  private:
    void interrupt(const CallPtr& call) {
        supervisor_.cancel(call);
        watchdog_.watch(call);
    }

    const Settings settings_;
    Doorbell& doorbell_;
    Loads& loads_ = Loads::get();
    LoopQueue& loop_queue_ = LoopQueue::get();
    Queue queue_{settings_.queue, settings_.threads, settings_.most_threads};
    Threads threads_{settings_, doorbell_, queue_};
    Growth growth_{queue_, threads_};
    Supervisor supervisor_{settings_, doorbell_, threads_, growth_};
    Watchdog watchdog_{settings_, doorbell_, queue_, threads_, supervisor_};
};

Pool& start_pool(const Settings& settings, Doorbell& doorbell) {
    return *std::make_unique<PythonPool>(settings, doorbell).release();
}

}  // namespace

}  // namespace owt

extern "C" const owt::Bridge owt_bridge = {OWT_MARK, &owt::start_pool};
