// What a worker process that hosts Python does on its event loop: opens the door to clients once Python is ready,
// listens to the doorbell, keeps the process alive while calls run, and ends or replaces it in an orderly way.

#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "call/call.hpp"
#include "call/pool.hpp"
#include "nginx/conf.hpp"
#include "nginx/descriptors.hpp"
#include "nginx/ngx.hpp"
#include "nginx/succession.hpp"

namespace owt {

class Worker {
  public:
    // The process's own; null where it hosts no Python.
    static Worker* get();
    // In init_process and exit_process.
    static ngx_int_t start(ngx_cycle_t* cycle, const MainConf& main, const Instance& instance) noexcept;
    static void stop();

    Worker(const MainConf& main, const Instance& instance);

    Doorbell& doorbell() { return doorbell_; }
    Pool& pool() { return *pool_; }

    // What is wrong, if the call cannot be taken in. counts: for max_calls.
    std::optional<Problem> submit(CallPtr call, bool counts);

    // While at least one call is held a worker that quits goes on. The call is shown to others, and its consumer told
    // if one of them wants it to end. Returns the place where it is shown.
    std::size_t hold(Call& call, std::size_t location, Clock::time_point now);
    struct Ended {
        std::size_t place;
        std::size_t location;
        bool failed;
        Outcome outcome;
        double seconds;
    };
    void let_go(const Ended& ended);

    // There may be orders in its row: they are followed in the loop's next turn.
    void told();

  private:
    void launch(ngx_cycle_t* cycle, std::chrono::seconds pause);
    Host host();
    void listen_to_doorbell(ngx_cycle_t* cycle);
    void close_door(ngx_cycle_t* cycle);
    void get_ready();
    void open_door();
    void answer_doorbell();
    void write_log(const std::vector<LogLine>& lines);
    void end_stuck();
    void close_connections();
    void look_at_itself();
    void watch_memory(std::size_t rss, const Load& load);
    void check_rss_at_start();
    void look_around();
    void follow_orders();
    void has_endpoint(std::string_view code_id, bool loaded);
    void replace(const char* why);

    const Settings settings_;
    Interpreter python_;
    const std::string name_;        // empty for an ordinary worker
    const std::string who_;         // for the log
    Succession* const succession_;  // null without a master
    Row& row_;
    Doorbell doorbell_;
    std::optional<Descriptors> descriptors_;
    Pool* pool_ = nullptr;
    ngx_connection_t* bell_ = nullptr;
    ngx_event_t kick_{};
    ngx_event_t hold_timer_{};
    ngx_event_t end_timer_{};
    ngx_event_t descriptors_timer_{};
    ngx_event_t look_timer_{};
    ngx_event_t orders_{};
    const std::size_t number_;  // of the instance, with the scoreboard
    std::uint64_t shown_ = 0;   // calls
    std::size_t hint_ = 0;
    std::vector<Consumer*> consumers_;  // by the places of calls
    std::mutex endpoints_mutex_;
    std::unordered_set<std::string> endpoints_;
    std::size_t held_ = 0;
    std::size_t done_ = 0;
    std::size_t failed_ = 0;
    std::size_t rss_limit_;           // of max_rss
    const std::size_t memory_limit_;  // what may be used before memory is short
    enum class Relief { none, asked, vain } relief_ = Relief::none;
    Clock::time_point relief_asked_;
    std::size_t reliefs_before_ = 0;
    std::size_t calls_ = 0;
    bool door_closed_ = false;
    bool ready_ = false;
    std::vector<std::pair<ngx_listening_t*, ngx_connection_t*>> behind_door_;
    bool accept_mutex_ = false;
    bool leaving_ = false;
    bool stuck_ = false;
    std::vector<CallPtr> rung_;
    std::vector<LogLine> lines_;
};

}  // namespace owt
