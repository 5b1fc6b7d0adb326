#include "nginx/succession.hpp"

#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <memory>
#include <span>

#include "call/hooks.hpp"
#include "call/memory.hpp"
#include "nginx/channel.hpp"
#include "nginx/door.hpp"
#include "nginx/sockets.hpp"

namespace owt {

namespace {

// Others tell when they come or go. Who was killed, and has no successor, does not.
constexpr ngx_msec_t interval = for_tests(1000, 100);
constexpr int enough_looks = 3;
// How long new connections are kept waiting for what runs to end.
constexpr ngx_msec_t patience = 1000;

std::unique_ptr<Succession>& own() {
    static auto& succession = *std::make_unique<std::unique_ptr<Succession>>().release();
    return succession;
}

std::span<ngx_listening_t> listening_of(ngx_cycle_t* cycle) {
    return {begin_of<ngx_listening_t>(cycle->listening), cycle->listening.nelts};
}

template <typename Handler>
void init_event(ngx_event_t& event, Succession* succession, Handler handler) {
    event.data = succession;
    event.handler = handler;
    event.log = ngx_cycle->log;
    event.cancelable = 1;
}

// QUIC's connections have no sockets of their own.
bool carries_connections([[maybe_unused]] const ngx_listening_t& listening) {
#if (NGX_QUIC)
    return listening.quic != 0;
#else
    return false;
#endif
}

Succession& succession_of(ngx_event_t* event) {
    return *static_cast<Succession*>(event->data);
}

void stop_timer(ngx_event_t& event) {
    if (event.timer_set) {
        ngx_del_timer(&event);
    }
}

}  // namespace

Succession* Succession::get() {
    return own().get();
}

void Succession::begin(ngx_cycle_t* cycle, const MainConf& main, const Instance& instance) noexcept {
    if (main.board == nullptr || ngx_process != NGX_PROCESS_WORKER) {
        return;
    }
    try {
        own() = std::make_unique<Succession>(cycle, *main.board, main, instance);
        listen_to_channel(cycle, heard);
    } catch (const std::exception& error) {
        ngx_log_error(NGX_LOG_ERR, cycle->log, 0, "owt: this process knows nothing of others: %s", error.what());
    }
}

void Succession::end() noexcept {
    if (Succession* succession = get()) {
        succession->board_.leave_seat(succession->place_);
        succession->become(Process::State::gone);
        wake_others();
    }
    if (ngx_terminate) {
        ngx_exiting = 0;  // what is cut off is meant to be: nginx before 1.25.4 raises an [alert]
    }
}

Succession::Succession(ngx_cycle_t* cycle, Scoreboard& board, const MainConf& main, const Instance& instance)
    : cycle_(cycle),
      board_(board),
      instance_(instance),
      place_(static_cast<std::size_t>(ngx_process_slot)),
      title_(instance.name == "default" ? "worker process" : "worker process (owt " + instance.name + ")") {
    self_.pid = ngx_pid;
    self_.generation = main.generation;
    self_.worker = static_cast<std::uint32_t>(ngx_worker);
    self_.instance = static_cast<std::uint32_t>(&instance - main.instances->data());
    self_.state = Process::State::starting;
    self_.started_at = ngx_time();
    instance.name.copy(self_.name.data(), self_.name.size() - 1);
    failed_starts_ = board_.enter(place_, self_);
    init_event(soon_, this, [](ngx_event_t* event) noexcept {
        Succession& succession = succession_of(event);
        if (succession.stage_ == Stage::serving && !succession.standing_by_) {
            succession.set_title("");
        }
        succession.look();
    });
    init_event(again_, this, [](ngx_event_t* event) noexcept { succession_of(event).look_again(); });
    init_event(patience_, this, [](ngx_event_t* event) noexcept { succession_of(event).end_drain(); });
    init_event(deadline_, this, [](ngx_event_t* event) noexcept { succession_of(event).time_is_up(); });
    // nginx sets a title of its own after init_process; an ordinary posted event would wait for the first client.
    ngx_post_event(&soon_, &ngx_posted_next_events);
}

// --- The door.

void Succession::close_door(std::function<void()> news) {
    door_closed_ = true;
    news_ = std::move(news);
}

void Succession::started() {
    if (!door_closed_) {
        opened();
        return;
    }
    for (ngx_listening_t& listening : listening_of(cycle_)) {
        if (has_open(listening)) {
            board_.opened(listening.fd, self_.generation);
        }
    }
    wake_others();
}

bool Succession::take_seat() {
    board_.row(place_).starts = 0;
    if (stage_ != Stage::serving) {
        return false;
    }
    if (instance_.spare == 0 ||
        board_.take_seat(instance_.first_worker, instance_.processes, self_.generation, place_)) {
        standing_by_ = false;
        return true;
    }
    if (!std::exchange(standing_by_, true)) {
        become(Process::State::spare);
        set_title(" is spare");
        look_again();
    }
    return false;
}

void Succession::opened() {
    door_closed_ = false;
    for (ngx_listening_t& listening : listening_of(cycle_)) {
        if (has_open(listening)) {
            board_.opened(listening.fd, self_.generation);
        }
    }
    board_.row(place_).rss = resident_bytes();
    become(Process::State::ready);
    set_title("");
    wake_others();
}

// --- The end.

// nginx's handler has just read what the channel brought.
void Succession::heard() {
    Succession& succession = *get();
    if (ngx_quit && !ngx_terminate && succession.stage_ != Stage::leaving) {
        succession.asked_to_quit();
    }
    succession.look();
    succession.word_();
}

// Its master says the same for a reload and for the end of all. In the newest configuration it is the end, except for a
// process that was started during a reload, in the place of one that died.
void Succession::asked_to_quit() {
    if (!signalled_ && board_.newest() > self_.generation) {
        wait_for_others();
        return;
    }
    if (!signalled_ && !is_double()) {
        board_.quits(self_.generation);
    }
    leave();
}

bool Succession::keeps_back(pid_t sender) noexcept {
    if (stage_ == Stage::draining) {
        ngx_exiting = 0;  // else nginx takes this for its second quit
    }
    if (stage_ != Stage::leaving && sender == ngx_parent && ::getppid() == ngx_parent &&
        board_.newest() > self_.generation) {
        ngx_quit = 0;
        told_by_signal_ = true;
        return true;
    }
    signalled_ = true;
    return false;
}

void Succession::wait_for_others() {
    ngx_quit = 0;
    if (stage_ == Stage::told) {
        return;
    }
    if (stage_ == Stage::draining) {
        end_drain();
    }
    stop_timer(deadline_);
    stage_ = Stage::told;
    become(Process::State::retiring);
    if (is_relieved()) {
        leave();
        return;
    }
    ngx_log_error(NGX_LOG_NOTICE, cycle_->log, 0, "owt: this process serves until one of the new configuration does");
    set_title(" serves until its successor does");
    look_again();
}

void Succession::retire() {
    if (stage_ != Stage::serving) {
        return;
    }
    stage_ = Stage::retiring;
    become(Process::State::retiring);
    board_.leave_seat(place_);
    wake_others();
    auto* core = reinterpret_cast<ngx_core_conf_t*>(ngx_get_conf(cycle_->conf_ctx, ngx_core_module));
    if (core->shutdown_timeout != 0) {
        ngx_add_timer(&deadline_, core->shutdown_timeout);
    }
    // Not in the middle of a request: connections may be closed.
    ngx_post_event(&soon_, &ngx_posted_next_events);
}

void Succession::shuts_down() {
    set_title(" is shutting down");
    if (stage_ == Stage::draining || stage_ == Stage::leaving) {
        return;
    }
    stage_ = Stage::leaving;
    become(Process::State::retiring);
    board_.leave_seat(place_);
    wake_others();
}

void Succession::leave() {
    if (stage_ == Stage::draining) {
        ngx_exiting = 0;
    }
    stop_timer(patience_);
    stop_timer(deadline_);
    stage_ = Stage::leaving;
    become(Process::State::retiring);
    board_.leave_seat(place_);
    wake_others();
    ngx_quit = 1;
}

// What still runs has had its time while the door was open.
void Succession::time_is_up() {
    overdue_ = true;
    if (stage_ == Stage::draining || (stage_ == Stage::retiring && is_alone())) {
        auto* core = reinterpret_cast<ngx_core_conf_t*>(ngx_get_conf(cycle_->conf_ctx, ngx_core_module));
        core->shutdown_timeout = 1;
        leave();
    }
}

void Succession::look() {
    if (std::exchange(told_by_signal_, false)) {
        wait_for_others();
        return;
    }
    if (signalled_ && stage_ != Stage::leaving) {
        leave();
    }
    switch (stage_) {
        case Stage::serving:
            if (door_closed_) {
                news_();
            }
            break;
        case Stage::told:
            if (is_relieved()) {
                leave();
            }
            break;
        case Stage::retiring:
            if (is_replaced()) {
                leave();
            } else if (is_alone() && overdue_) {
                time_is_up();
            } else if (is_alone() && !has_old_work()) {
                drain();
            } else if (!again_.timer_set) {
                ngx_add_timer(&again_, interval);
            }
            break;
        default:
            break;
    }
}

// And from now on at intervals.
void Succession::look_again() {
    bool anybody = false;
    board_.each_process([&](std::size_t, const Process& other) { anybody |= other.generation == board_.newest(); });
    nobody_seen_ = anybody ? 0 : nobody_seen_ + 1;
    if (again_.timedout) {
        again_.timedout = 0;
        look();
    }
    if (stage_ == Stage::told || stage_ == Stage::retiring || standing_by_) {
        ngx_add_timer(&again_, interval);
    }
}

// nginx's own end of a worker, but for the sockets: they stay, and so there is a way back. It closes connections that
// are idle, keeps none alive, and the process ends as soon as nothing runs.
void Succession::drain() {
    stage_ = Stage::draining;
    accept_mutex_ = ngx_use_accept_mutex != 0;
    ngx_use_accept_mutex = 0;
    ngx_accept_mutex_held = 0;  // it is not locked outside of nginx's own turn
    for (ngx_listening_t& listening : listening_of(cycle_)) {
        if (has_open(listening) && !carries_connections(listening)) {
            stop_listening(listening);
        }
    }
    ngx_exiting = 1;
    ngx_add_timer(&patience_, patience);
    ngx_close_idle_connections(cycle_);
}

void Succession::end_drain() {
    ngx_exiting = 0;
    stage_ = Stage::retiring;
    newest_ = *ngx_connection_counter;
    stop_timer(patience_);
    ngx_use_accept_mutex = accept_mutex_;
    for (ngx_listening_t& listening : listening_of(cycle_)) {
        if (has_open(listening) && !carries_connections(listening) && (!accept_mutex_ || listening.reuseport)) {
            start_listening(listening);
        }
    }
    set_title(" serves until what it runs has ended");
    look_again();
}

// --- What there is to see.

bool Succession::has_open(const ngx_listening_t& listening) const {
    return is_own(listening) && !(door_closed_ && leads_to_python(listening));
}

bool Succession::any_open(bool (*which)(const ngx_listening_t&)) const {
    return std::ranges::any_of(listening_of(cycle_), [&](const ngx_listening_t& listening) {
        return has_open(listening) && which(listening);
    });
}

bool Succession::is_double() const {
    bool found = false;
    board_.each_process([&](std::size_t place, const Process& other) {
        found |= place != place_ && other.generation == self_.generation && other.worker == self_.worker;
    });
    return found;
}

// By those of another configuration, each of which serves until yet others do.
bool Succession::is_relieved() const {
    return board_.nobody_comes() || nobody_seen_ >= enough_looks ||
           std::ranges::all_of(listening_of(cycle_), [&](const ngx_listening_t& listening) {
               return !has_open(listening) || !board_.listens(listening.fd) ||
                      board_.opened_after(listening.fd, self_.generation);
           });
}

// By those of its own instance. What does not lead to Python they have open from the start; a worker's own socket they
// never have.
bool Succession::is_replaced() const {
    bool serves = false;
    bool lives = false;
    board_.each_process([&](std::size_t place, const Process& other) {
        if (place != place_ && other.generation == self_.generation && other.instance == self_.instance) {
            serves |= other.state == Process::State::ready;
            lives |= other.state < Process::State::retiring;
        }
    });
    return !any_open([](const ngx_listening_t& listening) { return listening.reuseport != 0; }) &&
           (serves || !any_open(leads_to_python)) && (lives || !any_open([](const ngx_listening_t&) { return true; }));
}

// Nobody else of the instance serves, or will.
bool Succession::is_alone() const {
    bool found = false;
    board_.each_process([&](std::size_t place, const Process& other) {
        found |= place != place_ && other.generation == self_.generation && other.instance == self_.instance &&
                 other.state < Process::State::retiring;
    });
    return !found || any_open([](const ngx_listening_t& listening) { return listening.reuseport != 0; });
}

// Something that was running when draining took too long still does.
bool Succession::has_old_work() const {
    std::span connections(cycle_->connections, cycle_->connection_n);
    return std::ranges::any_of(connections, [&](const ngx_connection_t& connection) {
        return connection.fd != static_cast<ngx_socket_t>(-1) && connection.read != nullptr &&
               !connection.read->accept && !connection.read->channel && !connection.idle && connection.number != 0 &&
               connection.number <= newest_;
    });
}

void Succession::become(Process::State state) {
    if (self_.state != state) {
        self_.state = state;
        board_.row(place_).process.write(self_, "publish_process");
    }
}

void Succession::set_title(const char* what) const {
    std::string title = title_ + what;
    ngx_setproctitle(title.data());
}

void follow_master() {
    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_HELPER) {
        return;
    }
    if (::prctl(PR_SET_PDEATHSIG, SIGQUIT) == 0 && ::getppid() != ngx_parent) {
        ngx_quit = 1;  // it was killed before that
    }
}

}  // namespace owt
