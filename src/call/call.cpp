#include "call/call.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace owt {

namespace {

// Pieces shorter than this are put together while they wait, up to so much in one.
constexpr std::size_t short_piece = 4 * 1024;
constexpr std::size_t gathered_piece = 16 * 1024;

double seconds(Clock::duration duration) {
    return std::chrono::duration<double>(duration).count();
}

}  // namespace

// What printf() does costs more than all else in a head.
char* to_milliseconds(double seconds, char* begin, char* end) {
    auto microseconds = static_cast<std::uint64_t>(std::llround(seconds * 1e6));
    end = std::to_chars(begin, end - 4, microseconds / 1000).ptr;
    *end++ = '.';
    for (std::uint64_t unit : {100, 10, 1}) {
        *end++ = static_cast<char>('0' + microseconds / unit % 10);
    }
    return end;
}

Piece Piece::of(std::string text) {
    auto owner = std::make_shared<const std::string>(std::move(text));
    return {*owner, owner};
}

bool Call::take(Batch& batch) {
    std::lock_guard lock(mutex_);
    if (!fresh_) {
        return false;
    }
    fresh_ = false;
    batch = std::exchange(outbox_, {});
    gathering_ = nullptr;
    return true;
}

bool Call::sent(std::size_t n) {
    std::lock_guard lock(mutex_);
    unsent_ -= n;
    if (unsent_ > limit_ / 2) {
        return false;
    }
    room_.notify_one();
    return std::exchange(wants_room_, false);
}

void Call::sends(std::size_t n) {
    std::lock_guard lock(mutex_);
    unsent_ += n;
}

bool Call::cancel() {
    std::shared_ptr<const void> rest;
    std::lock_guard lock(mutex_);
    if (cancelled() || ended_ || state() == State::done) {
        return false;
    }
    cancelled_ = true;
    tell();
    rest.swap(rest_);
    outbox_ = {};
    gathering_ = nullptr;
    fresh_ = false;
    room_.notify_all();
    return true;
}

Timing Call::timing(bool all) const {
    std::lock_guard lock(mutex_);
    Timing timing;
    if (started_at_ == Clock::time_point{}) {
        if (state() != State::done) {
            timing.queue = seconds(Clock::now() - queued_at_);
        }
        return timing;
    }
    timing.queue = seconds(started_at_ - queued_at_);
    timing.load = load_;
    auto until = all || head_at_ == Clock::time_point{} ? Clock::now() : head_at_;
    timing.run = std::max(0.0, seconds(until - started_at_) - load_);
    return timing;
}

void Call::run() {
    std::lock_guard lock(mutex_);
    if (waits_for_.exchange(0) == 0) {
        started_at_ = Clock::now();
    } else {
        load_ += seconds(Clock::now() - waits_since_);
        loading_ = false;
    }
    become(State::running);
}

void Call::finished() {
    std::shared_ptr<const void> rest;
    std::lock_guard lock(mutex_);
    rest.swap(rest_);
    become(State::done);
}

void Call::park(std::shared_ptr<const void> rest) {
    std::lock_guard lock(mutex_);
    parked_ = true;
    rest_ = std::move(rest);
}

bool Call::hand_back() {
    std::unique_lock lock(mutex_);
    if (!std::exchange(parked_, false) || cancelled()) {
        return false;
    }
    become(State::queued);
    queued_at_ = Clock::now();
    started_at_ = {};
    outbox_.parked = true;
    ring(lock);
    return true;
}

std::shared_ptr<const void> Call::take_rest() {
    std::lock_guard lock(mutex_);
    return std::exchange(rest_, nullptr);
}

bool Call::has_rest() const {
    std::lock_guard lock(mutex_);
    return rest_ != nullptr;
}

void Call::wait_for_load(std::uint64_t load, std::shared_ptr<const void> rest) {
    std::lock_guard lock(mutex_);
    rest_ = std::move(rest);
    waits_since_ = Clock::now();
    waits_for_ = load;
    loading_ = true;
    tell();
}

void Call::queue_again() {
    std::lock_guard lock(mutex_);
    detached_ = false;
    become(State::queued);
    started_at_ = {};
}

namespace {

// What is published is known by its name.
const std::string& shown_name(const Call::Asked& asked) {
    return asked.name.empty() ? asked.params.fn_name : asked.name;
}

}  // namespace

void Call::show(Tally& tally, CallPlace place, CallSeen seen) {
    seen.endpoint = endpoint_number(asked.params.code_id);
    shown_name(asked).copy(seen.function.data(), seen.function.size() - 1);
    std::lock_guard lock(mutex_);
    sight_.show(tally, place, seen);
}

void Call::known() {
    std::lock_guard lock(mutex_);
    sight_.name(asked.params.code_id, shown_name(asked));
}

void Call::load(bool begins) {
    std::lock_guard lock(mutex_);
    loading_ = begins;
    tell();
}

// With the mutex held.
void Call::become(State state) {
    state_ = state;
    tell();
}

void Call::tell() {
    switch (state()) {
        case State::done:
            sight_.stands(Stage::none);
            break;
        case State::queued:
            sight_.stands(cancelled() ? Stage::ending : Stage::queued);
            break;
        default:
            sight_.stands(cancelled()                   ? Stage::ending
                          : loading()                   ? Stage::loading
                          : state() == State::streaming ? Stage::streaming
                                                        : Stage::running);
    }
}

void Call::loaded(double seconds) {
    std::lock_guard lock(mutex_);
    load_ += seconds;
}

void Call::bound() {
    Params& params = asked.params;
    params.code = {};
    params.kwargs.reset();
    params.fields = {};
    params.beside = {};
    params.unused = {};
}

bool Call::answered() const {
    std::lock_guard lock(mutex_);
    return answered_;
}

bool Call::begin_answer() {
    if (cancelled() || answered_) {
        return false;
    }
    answered_ = true;
    head_at_ = Clock::now();
    return true;
}

void Call::finish_answer(std::unique_lock<std::mutex>& lock) {
    ended_ = true;
    leave_out();
    outbox_.end = End::finished;
    ring(lock);
}

void Call::add(Piece piece) {
    if (piece.bytes.empty()) {
        return;
    }
    unsent_ += piece.bytes.size();
    bool said_since = outbox_.said != nullptr && outbox_.said->back().before == outbox_.pieces.size();
    if (outbox_.pieces.empty() || said_since || piece.bytes.size() >= short_piece ||
        !gather(outbox_.pieces.back(), piece.bytes)) {
        outbox_.pieces.push_back(std::move(piece));
    }
}

// A piece costs more than a hundred bytes beside its own, and a client that does not read may have any number of them
// wait. False if the last one cannot take in more.
bool Call::gather(Piece& last, std::string_view bytes) {
    if (gathering_ == nullptr || gathering_ != last.owner) {
        if (last.bytes.size() >= short_piece) {
            return false;
        }
        gathering_ = std::make_shared<std::string>(last.bytes);
        last.owner = gathering_;
    } else if (gathering_->size() + bytes.size() > gathered_piece) {
        return false;
    }
    gathering_->append(bytes);
    last.bytes = *gathering_;
    return true;
}

std::vector<Said>& Call::said() {
    if (outbox_.said == nullptr) {
        outbox_.said = std::make_unique<std::vector<Said>>();
    }
    return *outbox_.said;
}

void Call::announce() {
    std::unique_lock lock(mutex_);
    if (!cancelled() && !ended_) {
        ring(lock);
    }
}

void Call::say(Said::By by, std::string_view text, bool at_once) {
    std::unique_lock lock(mutex_);
    // Who may not see tracebacks may not see what a function logs either, which may hold one.
    if (cancelled() || ended_ || !asked.show_traceback) {
        return;
    }
    if (text.empty()) {  // what waits is to go
        if (outbox_.said != nullptr) {
            ring(lock);
        }
        return;
    }
    if (unsent_ > limit_) {
        left_out_ += text.size();
        return;
    }
    unsent_ += text.size();
    std::size_t before = outbox_.pieces.size();
    if (std::size_t missing = std::exchange(left_out_, 0);
        missing == 0 && outbox_.said != nullptr && outbox_.said->back().by == by &&
        outbox_.said->back().before == before && outbox_.said->back().text.size() < gathered_piece) {
        outbox_.said->back().text.append(text);
    } else {
        said().push_back({by, std::string(text), missing, before});
    }
    if (at_once || text.find_first_of("\r\n") != std::string_view::npos ||
        outbox_.said->back().text.size() >= short_piece) {
        ring(lock);
    }
}

bool Call::flush() {
    std::lock_guard lock(mutex_);
    fresh_ = fresh_ || outbox_.said != nullptr;
    return fresh_;
}

// With the mutex held: says what has not been told so far.
void Call::leave_out() {
    if (left_out_ > 0) {
        said().push_back({Said::By::out, {}, std::exchange(left_out_, 0), outbox_.pieces.size()});
    }
}

void Call::progress(std::string json) {
    std::unique_lock lock(mutex_);
    if (cancelled() || ended_) {
        return;
    }
    progress_ = std::move(json);
    has_progress_ = true;
    if (!std::exchange(progress_awaited_, true)) {
        ring(lock);
    }
}

std::optional<std::string> Call::take_progress() {
    std::lock_guard lock(mutex_);
    progress_awaited_ = has_progress_;
    return std::exchange(has_progress_, false) ? std::optional(std::move(progress_)) : std::nullopt;
}

void Call::refuse(Problem problem) {
    std::unique_lock lock(mutex_);
    if (begin_answer()) {
        outbox_.problem = std::make_unique<Problem>(std::move(problem));
        finish_answer(lock);
    }
}

void Call::respond(Head head, Piece body) {
    std::unique_lock lock(mutex_);
    if (begin_answer()) {
        outbox_.head = std::move(head);
        outbox_.whole = true;
        add(std::move(body));
        finish_answer(lock);
    }
}

void Call::send_file(Head head, FileAnswer file) {
    std::unique_lock lock(mutex_);
    if (begin_answer()) {
        outbox_.head = std::move(head);
        outbox_.file = std::make_unique<FileAnswer>(std::move(file));
        finish_answer(lock);
    }
}

void Call::start(Head head) {
    std::lock_guard lock(mutex_);
    if (begin_answer()) {
        become(State::streaming);
        outbox_.head = std::move(head);  // travels with the first piece
    }
}

Call::Room Call::push(Piece piece, bool tell) {
    std::unique_lock lock(mutex_);
    if (cancelled() || ended_) {
        return Room::cancelled;
    }
    add(std::move(piece));
    bool room = unsent_ <= limit_;
    wants_room_ = tell && !room;
    ring(lock);
    return room ? Room::yes : Room::no;
}

bool Call::wait_for_room() {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [&] { return cancelled() || unsent_ <= limit_ / 2; });
    return !cancelled();
}

void Call::end(End how, std::optional<Problem> problem) {
    std::unique_lock lock(mutex_);
    if (cancelled() || ended_) {
        return;
    }
    answered_ = ended_ = true;
    outbox_.end = how;
    if (problem && asked.params.events) {
        outbox_.problem = std::make_unique<Problem>(std::move(*problem));
    }
    leave_out();
    ring(lock);
}

void Call::ring(std::unique_lock<std::mutex>& lock) {
    bool first = !std::exchange(fresh_, true);
    lock.unlock();
    if (first) {
        doorbell_.ring(shared_from_this());
    }
}

}  // namespace owt
