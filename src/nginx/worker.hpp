// What a worker process that hosts Python does on its event loop: opens the door to clients once Python is ready,
// listens to the doorbell, keeps the process alive while calls run, and ends or replaces it in an orderly way.

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "call/call.hpp"
#include "call/pool.hpp"
#include "nginx/conf.hpp"
#include "nginx/ngx.hpp"

namespace owt {

class Worker {
  public:
    // The process's own; null where it hosts no Python.
    static Worker* get();
    // In init_process and exit_process.
    // starts counts those of this worker that have not led to one that is ready.
    // Null if nobody counts.
    static ngx_int_t start(ngx_cycle_t* cycle, const Instance& instance, std::uint32_t* starts) noexcept;
    static void stop();

    Worker(const Instance& instance, std::uint32_t* starts);

    Doorbell& doorbell() { return doorbell_; }
    Pool& pool() { return *pool_; }

    // False if the queue is full. counts: for max_calls.
    bool submit(CallPtr call, bool counts);

    // While at least one is held a worker that quits goes on.
    void hold();
    void let_go();

  private:
    void launch(ngx_cycle_t* cycle, std::chrono::seconds pause);
    void listen_to_doorbell(ngx_cycle_t* cycle);
    void close_door(ngx_cycle_t* cycle);
    void open_door();
    void answer_doorbell();
    void set_title(const char* what);
    void write_log(const std::vector<LogLine>& lines);
    void check_rss();
    void end_stuck();
    void close_connections();
    void replace(const char* why);

    const Settings settings_;
    const std::string name_;  // empty for an ordinary worker
    const std::string who_;   // for the log
    std::uint32_t* const starts_;
    Doorbell doorbell_;
    Pool* pool_ = nullptr;
    ngx_connection_t* bell_ = nullptr;
    ngx_event_t kick_{};
    ngx_event_t title_{};
    ngx_event_t hold_timer_{};
    ngx_event_t rss_timer_{};
    ngx_event_t end_timer_{};
    std::size_t held_ = 0;
    std::size_t calls_ = 0;
    bool door_closed_ = false;
    bool accept_mutex_ = false;
    bool leaving_ = false;
    bool stuck_ = false;
    std::vector<CallPtr> rung_;
    std::vector<LogLine> lines_;
};

}  // namespace owt
