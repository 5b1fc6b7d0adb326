// Who serves when processes come and go, so that nobody waits: a process goes on until others have opened what it has
// open. In every worker, whether it hosts Python or not.
//
// A reload: nginx's master starts the new workers and tells the old ones to quit at once. These keep that back until
// one of the new has opened the door; the scoreboard says whether there is a newer configuration or the master itself
// ends. A process that is to be replaced leaves its seat to a spare one, or to the others of its instance. If there is
// nobody, it finishes what runs with its door closed, since the master starts a successor only when it is gone; if
// that takes long the door opens again, until what was running has come to its end.

#pragma once

#include <cstdint>
#include <functional>

#include "nginx/conf.hpp"
#include "nginx/ngx.hpp"
#include "nginx/scoreboard.hpp"

namespace owt {

class Succession {
  public:
    // The process's own; null without a master.
    static Succession* get();
    // In init_process and exit_process.
    static void begin(ngx_cycle_t* cycle, const MainConf& main, const Instance& instance) noexcept;
    static void end() noexcept;

    Succession(ngx_cycle_t* cycle, Scoreboard& board, const MainConf& main, const Instance& instance);

    Row& row() { return board_.row(place_); }
    // word: another process may have left orders in the row.
    void on_word(std::function<void()> word) { word_ = std::move(word); }
    // How many processes before this one, in its place, have not come to be ready.
    std::uint32_t failed_starts() const { return failed_starts_; }

    // --- The door, through which clients of owt come in. Open unless this is called; what else there is stays open.

    // news: others have come or gone, and there may be a seat.
    void close_door(std::function<void()> news);
    // At the end of init_process.
    void started();
    // The door could open. False if it is to stay closed: others serve, and this process stands by.
    bool take_seat();
    void opened();

    // --- The end.

    // Another is to come in this one's place.
    void retire();
    // nginx shuts this process down, or has been made to look as if it did.
    void shuts_down();
    // A signal has set ngx_quit. True if that is left for later; then look() has to be called soon. In the handler of
    // the signal.
    bool keeps_back(pid_t sender) noexcept;
    void look();

  private:
    enum class Stage {
        serving,
        told,      // to quit, and waits for others
        retiring,  // to be replaced, and waits for others, or for what runs
        draining,  // the same with all doors closed
        leaving,   // nginx shuts it down
    };

    static void heard();
    void asked_to_quit();
    void wait_for_others();
    void leave();
    void time_is_up();
    void drain();
    void end_drain();
    void look_again();

    bool has_open(const ngx_listening_t& listening) const;
    bool any_open(bool (*which)(const ngx_listening_t&)) const;
    bool is_double() const;
    bool is_relieved() const;
    bool is_replaced() const;
    bool is_alone() const;
    bool has_old_work() const;

    void become(Process::State state);
    void set_title(const char* what) const;

    ngx_cycle_t* const cycle_;
    Scoreboard& board_;
    const Instance& instance_;
    const std::size_t place_;
    const std::string title_;
    Process self_{};
    std::uint32_t failed_starts_ = 0;
    Stage stage_ = Stage::serving;
    bool signalled_ = false;       // to quit, by others than the master
    bool told_by_signal_ = false;  // by the master
    bool door_closed_ = false;
    bool standing_by_ = false;
    std::function<void()> news_;
    std::function<void()> word_ = [] {};
    int nobody_seen_ = 0;           // so many looks in a row found no process of the newest configuration
    bool accept_mutex_ = false;     // as it was before draining
    ngx_atomic_uint_t newest_ = 0;  // connection, when draining took too long
    bool overdue_ = false;
    ngx_event_t soon_{};
    ngx_event_t again_{};
    ngx_event_t patience_{};
    ngx_event_t deadline_{};
};

// In a worker and in nginx's cache processes: a master that was killed takes them along, in an orderly way, where nginx
// would let them hold its ports for ever.
void follow_master();

}  // namespace owt
