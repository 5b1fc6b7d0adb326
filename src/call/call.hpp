// The call: one run of an endpoint for one request, shared by the event loop and a Python thread.
//
// The loop fills in what was asked and puts the call on the pool's queue. From then on the two sides meet only here:
// Python puts its answer into the outbox, piece by piece; the loop, woken by the doorbell, takes out what has
// gathered, and says what has been sent, which lets a writer go on that was held back. cancel() tells Python that
// nobody waits any more. Pure: knows neither nginx nor Python.

#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "call/doorbell.hpp"
#include "call/fd.hpp"
#include "call/head.hpp"
#include "call/params.hpp"
#include "call/problem.hpp"
#include "call/publication.hpp"
#include "call/sight.hpp"

namespace owt {

using Clock = std::chrono::steady_clock;

// Some bytes of an answer and what keeps them alive.
struct Piece {
    std::string_view bytes;
    std::shared_ptr<const void> owner;

    static Piece of(std::string text);
    static Piece copy(std::string_view bytes) { return of(std::string(bytes)); }
};

struct FileAnswer {
    Fd fd;
    std::string name;
};

// What a call says beside its answer, where somebody hears of it as it happens.
struct Said {
    enum class By : std::uint8_t { out, err, logging };

    By by = By::out;
    std::string text;
    std::size_t missing = 0;  // bytes that were left out before it, as they were not read
    std::size_t before = 0;   // so many pieces of its batch came first
};

// Durations that Server-Timing and the log report, in seconds.
struct Timing {
    double queue = 0;
    double load = 0;
    double run = 0;
};

// As text in milliseconds with three digits behind the point, written between begin and end; where that ends.
char* to_milliseconds(double seconds, char* begin, char* end);

enum class End { open, finished, aborted };

// What the loop takes out of an outbox at once.
struct Batch {
    std::optional<Head> head;  // at most once in a call's life, in the first batch that is not empty
    // Each where there is one, which is seldom: a call is to be small enough for malloc()'s cache of threads.
    std::unique_ptr<Problem> problem;
    std::unique_ptr<FileAnswer> file;
    std::vector<Piece> pieces;
    End end = End::open;
    std::unique_ptr<std::vector<Said>> said;
    bool whole = false;   // head, body and end came at once: the length is known
    bool parked = false;  // nothing yet, but its parameters
};

// Who waits for a call's answer: an HTTP exchange.
class Consumer {
  public:
    // The call has news. On the event loop.
    virtual void advance() noexcept = 0;
    // Whoever looks after the server wants it to end. On the event loop.
    virtual void stop() noexcept = 0;

  protected:
    ~Consumer() = default;
};

class Call : public std::enable_shared_from_this<Call> {
  public:
    enum class State { queued, running, streaming, done };

    // What was asked. The loop fills it in; constant once the call is queued, but for params that a Python thread
    // reads: those of a multipart form and of a body that nginx spooled to a file.
    struct Asked {
        std::string environ;  // CGI variables, NUL after each name and each value
        std::string body;     // the whole body, where nginx holds it in memory; it may send from here
        Fd body_file;         // else the file it was spooled to
        Place place = Place::query;
        std::shared_ptr<const Publication> published;  // where the configuration has chosen what runs,
        std::string name;                              // what it is called there,
        std::string query;                             // and the query, whose fields are arguments too
        bool parsed = false;                           // params have been read on the loop
        Params params;
        std::string further;       // a digest of arguments that are no parameters: see key_of()
        bool looks_later = false;  // its key needs what a Python thread reads: then it is parked
        std::uint64_t connection = 0;
        bool show_traceback = true;
    };

    Call(Doorbell& doorbell, std::size_t buffer_limit) : doorbell_(doorbell), limit_(buffer_limit) {}

    Asked asked;

    // --- The event loop's side.

    Consumer* consumer = nullptr;  // null once nobody waits. Touched by the loop alone.

    // From now on others may see it, until nothing of it runs any more. Before it is queued.
    void show(Tally& tally, CallPlace place, CallSeen seen);

    // Takes what has gathered. False if there is nothing new.
    bool take(Batch& batch);
    // Says that n bytes of pieces taken are on their way. True if the asynchronous writer should be told to go on.
    bool sent(std::size_t n);
    // False if the answer was complete or the call cancelled already.
    bool cancel();

    // So many bytes go out that are not the call's.
    void sends(std::size_t n);
    // By default without what has been running since the answer began.
    Timing timing(bool all = false) const;

    // The call's last word on how far it is, as JSON, if it has not been taken. After that it rings anew.
    std::optional<std::string> take_progress();
    // What it has written of a line that is not complete waits for the rest: not any longer. True if there is any.
    bool flush();

    // --- Python's side.

    void run();       // it leaves the queue
    void finished();  // nothing of it runs any more
    // Its parameters are known now, and the loop is to look for a kept result before it runs. What has been read so far
    // is there when it comes out of the queue again. It goes back once its thread is done with it.
    void park(std::shared_ptr<const void> rest);
    bool hand_back();  // false if it is not parked
    std::shared_ptr<const void> take_rest();
    bool has_rest() const;
    void loaded(double seconds);
    // The function has its arguments: nobody else needs what they were made of. For what may go on for long.
    void bound();

    // What it is to run is known now, where it was not when it was queued.
    void known();

    // Its thread loads its endpoint, which goes on if nobody waits for the answer any more.
    void load(bool begins);
    bool loading() const { return loading_; }
    // It runs anew, and with rest, once the load of this number has ended; until then it needs no thread.
    void wait_for_load(std::uint64_t load, std::shared_ptr<const void> rest);
    std::uint64_t waits_for() const { return waits_for_; }  // 0: for none

    // --- What it says beside its answer: for who asked for events.

    // Its parameters, which a Python thread has read, ask for events.
    void announce();
    // Never waits: what is said to a reader who does not read is left out, and counted. What is no complete line yet
    // goes along with what comes next, unless it is to go at once.
    void say(Said::By by, std::string_view text, bool at_once);
    // The last one counts.
    void progress(std::string json);

    void refuse(Problem problem);
    void respond(Head head, Piece body);
    void send_file(Head head, FileAnswer file);
    void start(Head head);
    // Never waits. After Room::no nothing more should be written until there is room again: wait_for_room(), or with
    // tell the word that sent() gives the loop.
    enum class Room { yes, no, cancelled };
    Room push(Piece piece, bool tell);
    // False once the call is cancelled.
    bool wait_for_room();
    // An answer that breaks off may say why, to who asked for events.
    void end(End how, std::optional<Problem> problem = std::nullopt);

    // The call goes on after its thread has turned to others (async).
    void detach() { detached_ = true; }
    // It needs a thread after all, and has not begun.
    void queue_again();
    bool detached() const { return detached_; }

    bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }
    State state() const { return state_.load(std::memory_order_relaxed); }
    // An answer has been begun: it is too late for an honest error.
    bool answered() const;

  private:
    // With the mutex held.
    bool begin_answer();  // false if there is one already, or nobody to have it
    void finish_answer(std::unique_lock<std::mutex>& lock);
    void add(Piece piece);
    bool gather(Piece& last, std::string_view bytes);
    void ring(std::unique_lock<std::mutex>& lock);
    void leave_out();
    std::vector<Said>& said();
    void become(State state);
    void tell();

    Doorbell& doorbell_;
    const std::size_t limit_;
    std::atomic<bool> cancelled_ = false;
    std::atomic<bool> detached_ = false;
    std::atomic<bool> loading_ = false;
    std::atomic<std::uint64_t> waits_for_ = 0;
    std::atomic<State> state_ = State::queued;

    mutable std::mutex mutex_;
    std::condition_variable room_;
    Batch outbox_;
    std::shared_ptr<std::string> gathering_;  // the bytes of its last piece, if these are many put together
    bool answered_ = false;
    bool fresh_ = false;  // the outbox holds something the loop has not been told of
    bool ended_ = false;
    bool wants_room_ = false;   // an asynchronous writer waits
    std::size_t left_out_ = 0;  // bytes of what was said
    std::string progress_;
    bool has_progress_ = false;      // that has not been taken
    bool progress_awaited_ = false;  // somebody comes by himself to take the next
    std::size_t unsent_ = 0;         // bytes in the outbox or in nginx's hands

    Sight sight_;

    bool parked_ = false;
    std::shared_ptr<const void> rest_;

    Clock::time_point queued_at_ = Clock::now();
    Clock::time_point started_at_;
    Clock::time_point head_at_;
    Clock::time_point waits_since_;  // for a load
    double load_ = 0;
};

}  // namespace owt
