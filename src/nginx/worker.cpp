#include "nginx/worker.hpp"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/close_range.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <system_error>
#include <thread>

#include "call/hooks.hpp"
#include "call/memory.hpp"
#include "call/text.hpp"
#include "nginx/door.hpp"
#include "nginx/loop.hpp"
#include "nginx/python_host.hpp"
#include "nginx/signals.hpp"
#include "nginx/sockets.hpp"
#include "nginx/succession.hpp"
#include "nginx/writes.hpp"

namespace owt {

namespace {

constexpr ngx_msec_t hold_time = 3600 * 1000;
constexpr std::size_t longest_line = NGX_MAX_ERROR_STR - 256;  // the rest is for time, process and connection
constexpr ngx_msec_t look_interval = for_tests(1000, 50);
constexpr ngx_msec_t hard_look_interval = for_tests(100, 50);  // where memory has a hard bound
constexpr auto relief_again = std::chrono::seconds(60);
constexpr ngx_msec_t last_words = 100;
constexpr ngx_msec_t descriptors_interval = 1000;
// nginx's master kills with SIGKILL (and an [alert]) what does not end some 1.5 s after SIGTERM.
constexpr auto stop_deadline = std::chrono::milliseconds(900);

std::unique_ptr<Worker>& own() {
    static auto& worker = *std::make_unique<std::unique_ptr<Worker>>().release();
    return worker;
}

// nginx's daemon has none. What adaptors write is not to be everybody's.
void keep_umask() {
    if (mode_t mask = ::umask(022); mask != 0) {
        ::umask(mask);
    }
}

// Root may have started nginx in the foreground, and what is typed into a terminal, its shell runs.
void leave_terminal_of_root(ngx_cycle_t* cycle) {
    auto& core = *reinterpret_cast<ngx_core_conf_t*>(ngx_get_conf(cycle->conf_ctx, ngx_core_module));
    if (core.user != 0 && core.user == ::geteuid()) {
        ::setsid();
    }
}

// Where there is no master, and so no other process.
Row& row_of_single(const MainConf& main, const Instance& instance) {
    static Row nobodys;
    if (main.board == nullptr) {
        return nobodys;
    }
    Process self{};
    self.pid = ngx_pid;
    self.generation = main.generation;
    self.state = Process::State::starting;
    self.started_at = ngx_time();
    instance.name.copy(self.name.data(), self.name.size() - 1);
    main.board->enter(0, self);
    return main.board->row(0);
}

constexpr std::size_t no_place = Row::most_calls;

// In the handler of the signal.
void on_quit(pid_t sender) {
    Succession* succession = Succession::get();
    if (succession != nullptr && succession->keeps_back(sender) && Worker::get() != nullptr) {
        ::eventfd_write(Worker::get()->doorbell().fd(), 1);
    }
}

// A module that ends the process when it is imported is not to keep a processor busy.
std::chrono::seconds pause_after(std::uint32_t failed_starts) {
    return std::chrono::seconds(failed_starts == 0 ? 0 : 1 << std::min(failed_starts - 1, 6U));
}

// So that the next one is not started at once; but not while the master waits for this one's end.
void wait_to_end(std::chrono::milliseconds pause) {
    auto deadline = std::chrono::steady_clock::now() + pause;
    for (;;) {
        auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
        pollfd channel{ngx_channel, POLLIN, 0};
        if (left.count() <= 0 || ::poll(&channel, 1, static_cast<int>(left.count())) <= 0) {
            return;  // or a signal has come
        }
        ngx_channel_t word{};
        ssize_t n = ::recv(ngx_channel, &word, sizeof(word), MSG_DONTWAIT);
        if (n == 0 || (n > 0 && word.command != NGX_CMD_OPEN_CHANNEL && word.command != NGX_CMD_CLOSE_CHANNEL)) {
            return;
        }
    }
}

// Threads may still run: no destructor of any library may pull the ground from under them. One that is stuck in C may
// hold a stream for ever, which then cannot be flushed.
void end_process() {
    constexpr auto patience = std::chrono::milliseconds(200);
    auto flush = [](void*) -> void* {
        std::fflush(nullptr);
        ::_exit(0);
    };
    pthread_t thread;
    if (::pthread_create(&thread, nullptr, flush, nullptr) == 0) {
        std::this_thread::sleep_for(patience);
    }
    ::_exit(0);
}

void init_timer(ngx_event_t& event, Worker* worker, void (*handler)(ngx_event_t*)) {
    event.data = worker;
    event.handler = handler;
    event.log = ngx_cycle->log;
}

Worker& worker_of(ngx_event_t* event) {
    return *static_cast<Worker*>(event->data);
}

}  // namespace

Worker* Worker::get() {
    return own().get();
}

Worker::Worker(const MainConf& main, const Instance& instance)
    : settings_(with_index(instance.settings, ngx_worker - instance.first_worker)),
      python_(instance.python),
      name_(instance.name == "default" ? "" : instance.name),
      who_(name_.empty() ? "this process" : "this process of " + name_),
      succession_(Succession::get()),
      row_(succession_ != nullptr ? succession_->row() : row_of_single(main, instance)),
      number_(instance.number),
      consumers_(Row::most_calls + 1),
      rss_limit_(settings_.max_rss),
      memory_limit_(memory_there_is(root_for_tests()) / 5 * 4) {
    init_timer(kick_, this, [](ngx_event_t* event) noexcept { worker_of(event).pool_->kick(); });
    init_timer(hold_timer_, this, [](ngx_event_t* event) noexcept { ngx_add_timer(event, hold_time); });
    init_timer(look_timer_, this, [](ngx_event_t* event) noexcept { worker_of(event).look_at_itself(); });
    look_timer_.cancelable = 1;
    init_timer(orders_, this, [](ngx_event_t* event) noexcept { worker_of(event).follow_orders(); });
    init_timer(end_timer_, this, [](ngx_event_t* event) noexcept { worker_of(event).close_connections(); });
    init_timer(descriptors_timer_, this, [](ngx_event_t* event) noexcept { worker_of(event).look_around(); });
    descriptors_timer_.cancelable = 1;
}

// nginx starts no successor for a process whose module says that it cannot start, so this one does not say it.
ngx_int_t Worker::start(ngx_cycle_t* cycle, const MainConf& main, const Instance& instance) noexcept {
    Succession* succession = Succession::get();
    auto pause = pause_after(succession != nullptr ? succession->failed_starts() : 0);
    try {
        auto worker = std::make_unique<Worker>(main, instance);
        worker->launch(cycle, pause);
        own() = std::move(worker);
        return NGX_OK;
    } catch (const std::exception& error) {
        ngx_log_error(NGX_LOG_ERR, cycle->log, 0, "owt: a process of \"owt_instance %s\" cannot start: %s",
                      instance.name.c_str(), error.what());
    }
    if (ngx_process == NGX_PROCESS_SINGLE) {
        return NGX_ERROR;
    }
    wait_to_end(std::max<std::chrono::seconds>(pause, std::chrono::seconds(1)));
    ::_exit(1);
}

void Worker::launch(ngx_cycle_t* cycle, std::chrono::seconds pause) {
    keep_umask();
    leave_terminal_of_root(cycle);
    doorbell_.set_level(static_cast<unsigned>(cycle->log->log_level));
    guard_writes(cycle, settings_);
    // Programs that adaptors start are to inherit neither ports nor logs; only the master hands these on.
    ::close_range(STDERR_FILENO + 1, std::numeric_limits<unsigned>::max(), CLOSE_RANGE_CLOEXEC);
    close_door(cycle);
    listen_to_doorbell(cycle);
    arrange_signals(on_quit);
    descriptors_.emplace(cycle, settings_.sources);
    watch_loop(cycle, *descriptors_);
    Settings here = settings_;
    here.host = host();
    here.pause = pause;
    if (python_.executable.empty()) {
        python_ = Interpreters(User{}).in(here.python_home);  // without a master a process may host one unforeseen
    }
    here.python = python_.executable;
    here.python_prefix = python_.prefix;
    here.packages = {own_directory(), own_directory() + "/" + python_.soabi};
    if (pause.count() > 0) {
        try_to_open_bridge(python_);
    }
    pool_ = &open_bridge(python_).start_pool(here, doorbell_);
    if (succession_ != nullptr) {
        succession_->close_door([this] { get_ready(); });
        succession_->on_word([this] { told(); });
    }
    look_at_itself();
    ngx_add_timer(&descriptors_timer_, descriptors_interval);
}

Host Worker::host() {
    return {
        .in_child =
            [this] {
                become_child();
                descriptors_->close_in_child();
            },
        .first_owned = [this](int low, int high) { return descriptors_->first_owned(low, high); },
        .before_program = [this] { descriptors_->keep_from_children(); },
        .endpoint = [this](std::string_view code_id, bool loaded) { has_endpoint(code_id, loaded); },
        .load_took = [this](double seconds) { row_.counted[number_].loads.add(seconds); },
    };
}

void Worker::stop() {
    Worker* worker = get();
    if (worker == nullptr) {
        return;
    }
    if (!worker->pool_->stop(stop_deadline)) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0, "owt: leaving threads behind that are still in Python");
    }
    std::vector<CallPtr> calls;
    for (bool more = true; more;) {
        worker->lines_.clear();
        more = worker->doorbell_.answer(calls, worker->lines_);
        worker->write_log(worker->lines_);
    }
    ngx_close_connection(worker->bell_);
    worker->descriptors_->forget();
    std::atexit(end_process);
}

void Worker::listen_to_doorbell(ngx_cycle_t* cycle) {
    Fd fd(::fcntl(doorbell_.fd(), F_DUPFD_CLOEXEC, 0));  // nginx closes it with the connection
    if (!fd) {
        throw std::system_error(errno, std::generic_category(), "dup() of the doorbell failed");
    }
    bell_ = ngx_get_connection(fd.get(), cycle->log);
    if (bell_ == nullptr) {
        throw std::runtime_error("worker_connections are not enough for the sockets");
    }
    fd.release();
    bell_->data = this;
    bell_->log = cycle->log;
    bell_->read->log = cycle->log;
    bell_->idle = 1;  // nginx tells such connections that the worker shuts down
    bell_->read->handler = [](ngx_event_t* event) noexcept {
        auto* connection = static_cast<ngx_connection_t*>(event->data);
        auto* worker = static_cast<Worker*>(connection->data);
        if (connection->close) {
            connection->close = 0;
            if (worker->succession_ != nullptr) {
                worker->succession_->shuts_down();
            }
        }
        worker->answer_doorbell();
    };
    ngx_uint_t flags = 0;
    if ((ngx_event_flags & NGX_USE_CLEAR_EVENT) != 0) {
        flags = NGX_CLEAR_EVENT;  // then the eventfd need not be read
    }
    if (ngx_add_event(bell_->read, NGX_READ_EVENT, flags) != NGX_OK) {
        throw std::runtime_error("nginx cannot wait for the doorbell");
    }
}

// Until everything is preloaded clients of owt wait in the kernel's backlog. A mutex would open all doors at once.
void Worker::close_door(ngx_cycle_t* cycle) {
    door_closed_ = true;
    accept_mutex_ = ngx_use_accept_mutex != 0;
    ngx_use_accept_mutex = 0;
    auto* listening = static_cast<ngx_listening_t*>(cycle->listening.elts);
    for (ngx_uint_t i = 0; i < cycle->listening.nelts; i++) {
        if (!is_own(listening[i])) {
            continue;
        }
        bool open = listening[i].connection->read->active;
        if (leads_to_python(listening[i])) {
            if (open) {
                ngx_del_event(listening[i].connection->read, NGX_READ_EVENT, 0);
            }
            // nginx opens all that it knows of, when descriptors were short and no longer are.
            behind_door_.emplace_back(&listening[i], std::exchange(listening[i].connection, nullptr));
        } else if (!open) {
            start_listening(listening[i]);
        }
    }
}

// Python is up, or others of the instance have come or gone.
void Worker::get_ready() {
    if (!door_closed_ || !pool_->ready()) {
        return;
    }
    if (!std::exchange(ready_, true)) {
        check_rss_at_start();
        row_.rss.store(resident_bytes(), std::memory_order_relaxed);
    }
    if (succession_ == nullptr || succession_->take_seat()) {
        open_door();
    }
}

void Worker::open_door() {
    door_closed_ = false;
    if (ngx_exiting || ngx_terminate) {
        return;
    }
    for (const auto& [listening, connection] : behind_door_) {
        listening->connection = connection;
    }
    behind_door_.clear();
    ngx_use_accept_mutex = accept_mutex_;
    auto* listening = static_cast<ngx_listening_t*>(ngx_cycle->listening.elts);
    for (ngx_uint_t i = 0; i < ngx_cycle->listening.nelts; i++) {
        if (is_own(listening[i]) && !listening[i].connection->read->active &&
            (!accept_mutex_ || listening[i].reuseport)) {
            start_listening(listening[i]);
        }
    }
    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0, "owt: %s%sready, %uz threads", name_.c_str(),
                  name_.empty() ? "" : " is ", settings_.threads);
    if (succession_ != nullptr) {
        succession_->opened();
    } else if (auto self = row_.process.read()) {
        self->state = Process::State::ready;
        row_.process.write(*self);
    }
}

void Worker::answer_doorbell() {
    if ((ngx_event_flags & NGX_USE_CLEAR_EVENT) == 0) {
        doorbell_.reset();
    }
    if (doorbell_.answer(rung_, lines_)) {
        ngx_post_event(bell_->read, &ngx_posted_next_events);  // the rest is for the loop's next turn
    }
    write_log(lines_);
    lines_.clear();
    for (const CallPtr& call : rung_) {
        if (call->consumer != nullptr) {
            call->consumer->advance();
        }
    }
    rung_.clear();
    if (succession_ != nullptr) {
        succession_->look();  // a signal may have rung
    }
    get_ready();
    if (pool_->health() != Pool::Health::good) {
        replace(pool_->why().c_str());
    }
    if (pool_->health() == Pool::Health::stuck) {
        end_stuck();
    }
}

void Worker::write_log(const std::vector<LogLine>& lines) {
    for (const LogLine& line : lines) {
        ngx_log_t log = *ngx_cycle->log;
        log.connection = line.connection;
        log.handler = nullptr;
        std::string_view rest = line.text;
        while (!rest.empty()) {
            std::string_view first = rest.substr(0, std::min(rest.find('\n'), longest_line));
            rest.remove_prefix(first.size());
            if (rest.starts_with('\n')) {
                rest.remove_prefix(1);
            }
            if (!first.empty()) {
                std::string shown = escaped(first);
                ngx_log_error(line.level, &log, 0, "owt: %*s", shown.size(), shown.data());
            }
        }
    }
}

std::optional<Problem> Worker::submit(CallPtr call, bool counts) {
    if (auto problem = pool_->submit(std::move(call))) {
        return problem;
    }
    if (!kick_.posted) {
        ngx_post_event(&kick_, &ngx_posted_events);
    }
    if (counts && ++calls_ == settings_.max_calls) {
        replace("max_calls is reached");
    }
    return std::nullopt;
}

std::size_t Worker::hold(Call& call, std::size_t location, Clock::time_point now) {
    CallPlace place = row_.place(hint_);
    auto at = place.stage != nullptr ? static_cast<std::size_t>(place.stage - row_.stages.data()) : no_place;
    consumers_[at] = call.consumer;
    call.show(row_.tally, place,
              {.number = ++shown_,
               .connection = call.asked.connection,
               .since = std::chrono::nanoseconds(now.time_since_epoch()).count(),
               .endpoint = 0,
               .location = static_cast<std::uint32_t>(location),
               .function = {}});
    if (held_++ == 0) {
        ngx_add_timer(&hold_timer_, hold_time);
        if (!look_timer_.timer_set) {
            ngx_add_timer(&look_timer_, look_interval);
        }
    }
    row_.calls.store(held_, std::memory_order_relaxed);
    return at;
}

void Worker::let_go(const Ended& ended) {
    consumers_[ended.place] = nullptr;
    row_.counted[ended.location].calls[static_cast<std::size_t>(ended.outcome)].add(ended.seconds);
    if (--held_ == 0) {
        ngx_del_timer(&hold_timer_);
    }
    row_.calls.store(held_, std::memory_order_relaxed);
    row_.done.store(++done_, std::memory_order_relaxed);
    if (ended.failed) {
        row_.failed.store(++failed_, std::memory_order_relaxed);
    }
}

// Not at once: whoever says so may be in the middle of a request.
void Worker::told() {
    if (!orders_.posted) {
        ngx_post_event(&orders_, &ngx_posted_events);
    }
}

void Worker::follow_orders() {
    Orders::follow(row_.orders.stops, [this](std::uint64_t number) {
        auto* stage = std::ranges::find_if(row_.stages, [&](const auto& word) { return word >> 8 == number; });
        auto at = static_cast<std::size_t>(stage - row_.stages.begin());
        if (at < no_place && consumers_[at] != nullptr) {
            consumers_[at]->stop();
        }
    });
    Orders::follow(row_.orders.drops, [this](std::uint64_t endpoint) {
        auto digits = endpoint_digits(endpoint);
        pool_->drop({digits.begin(), digits.end()});
    });
}

// On any thread.
void Worker::has_endpoint(std::string_view code_id, bool loaded) {
    std::lock_guard lock(endpoints_mutex_);
    bool changes = loaded ? endpoints_.emplace(code_id).second : endpoints_.erase(std::string(code_id)) > 0;
    if (changes) {
        row_.has_endpoint(endpoint_number(code_id), loaded);
        row_.endpoints = endpoints_.size();
    }
}

// What could be told to its calls has been.
void Worker::end_stuck() {
    if (std::exchange(stuck_, true)) {
        return;
    }
    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0, "owt: %s ends, and with it the calls that it runs", who_.c_str());
    ngx_add_timer(&end_timer_, last_words);
}

// As nginx does it when worker_shutdown_timeout has passed: then nothing is left to wait for.
void Worker::close_connections() {
    for (ngx_uint_t i = 0; i < ngx_cycle->connection_n; i++) {
        ngx_connection_t* connection = &ngx_cycle->connections[i];
        if (connection->fd == static_cast<ngx_socket_t>(-1) || connection->read == nullptr || connection == bell_ ||
            connection->read->accept || connection->read->channel || connection->read->resolver) {
            continue;
        }
        connection->close = 1;
        connection->error = 1;
        connection->read->handler(connection->read);
    }
}

// At intervals while there is something to see.
void Worker::look_at_itself() {
    hook("look");
    Load load = pool_->load();
    std::size_t rss = resident_bytes();
    row_.lost_threads.store(load.lost_threads, std::memory_order_relaxed);
    row_.rss.store(rss, std::memory_order_relaxed);
    if (settings_.max_rss_hard != 0 && rss > settings_.max_rss_hard) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "owt: %s has %uz bytes, more than the second size of its max_rss: it ends at once", who_.c_str(),
                      rss);
        ::_exit(1);
    }
    if (ready_) {
        watch_memory(rss, load);
    }
    follow_orders();
    if (held_ > 0 || settings_.max_rss_hard != 0 || (settings_.max_rss != 0 && !leaving_)) {
        ngx_add_timer(&look_timer_, settings_.max_rss_hard != 0 ? hard_look_interval : look_interval);
    }
}

// Before the process is given up for its memory, Python lets go of what it does not need just now.
void Worker::watch_memory(std::size_t rss, const Load& load) {
    bool over = settings_.max_rss != 0 && rss > rss_limit_;
    if (!over && rss <= memory_limit_) {
        relief_ = Relief::none;
        return;
    }
    auto now = Clock::now();
    if (relief_ == Relief::asked && (load.reliefs != reliefs_before_ || now > relief_asked_ + settings_.grace)) {
        bool helped = load.reliefs != reliefs_before_ && load.relief_helped;
        relief_ = helped ? Relief::none : Relief::vain;  // what has helped may do so again
    }
    if (over && relief_ == Relief::vain) {
        replace("max_rss is exceeded");
    } else if (relief_ == Relief::none || (relief_ == Relief::vain && now > relief_asked_ + relief_again)) {
        relief_ = Relief::asked;
        relief_asked_ = now;
        reliefs_before_ = load.reliefs;
        pool_->relieve(over ? rss_limit_ : memory_limit_);
    }
}

// Who is replaced for what it needs from the start is replaced for ever.
void Worker::check_rss_at_start() {
    std::size_t rss = resident_bytes();
    if (settings_.max_rss != 0 && rss > settings_.max_rss) {
        rss_limit_ = 2 * rss;
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "owt: %s has %uz bytes before its first call, more than its max_rss: until that is raised, it is "
                      "replaced beyond %uz",
                      who_.c_str(), rss, rss_limit_);
    }
}

// Every now and then: whether adaptors have left the process what it needs.
void Worker::look_around() {
    if (check_descriptors()) {
        ngx_add_timer(&descriptors_timer_, descriptors_interval);
    }
}

// The master starts another as soon as this one is gone; who serves until then succession.hpp says.
void Worker::replace(const char* why) {
    if (std::exchange(leaving_, true) || ngx_exiting) {
        return;
    }
    if (ngx_process == NGX_PROCESS_SINGLE) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "owt: %s should be replaced, %s, but there is no master to start another", who_.c_str(), why);
        return;
    }
    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0, "owt: %s is to be replaced: %s", who_.c_str(), why);
    if (succession_ != nullptr) {
        succession_->retire();
    } else {
        ngx_quit = 1;
    }
}

}  // namespace owt
