// The call on its own: what the loop takes out is what Python put in, once; cancellation wins over everything that
// comes later; a writer is held back while too much is unsent.

#include "call/call.hpp"

#include <poll.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "check.hpp"

using namespace owt;

namespace {

constexpr std::size_t limit = 100;

struct Fixture {
    Doorbell doorbell;
    CallPtr call = std::make_shared<Call>(doorbell, limit);

    // The calls that have rung since the last time.
    std::vector<CallPtr> rung() {
        std::vector<CallPtr> calls;
        std::vector<LogLine> lines;
        doorbell.answer(calls, lines);
        return calls;
    }

    bool readable() {
        pollfd fd{doorbell.fd(), POLLIN, 0};
        return poll(&fd, 1, 0) == 1;
    }
};

std::string text(const Batch& batch) {
    std::string text;
    for (const Piece& piece : batch.pieces) {
        text += piece.bytes;
    }
    return text;
}

Piece bytes(std::size_t n) {
    return Piece::copy(std::string(n, 'x'));
}

void a_whole_answer_is_taken_once(void**) {
    Fixture f;
    Batch batch;
    assert_false(f.call->take(batch));
    f.call->run();
    f.call->respond({201, {{"A", "b"}}}, Piece::copy("hello"));
    auto rung = f.rung();
    assert_int_equal(rung.size(), 1);
    assert_ptr_equal(rung[0].get(), f.call.get());
    assert_true(f.call->take(batch));
    assert_true(batch.whole);
    assert_int_equal(batch.head->status, 201);
    assert_string_equal(batch.head->headers[0].name.c_str(), "A");
    assert_string_equal(text(batch).c_str(), "hello");
    assert_true(batch.end == End::finished);
    assert_false(f.call->take(batch));
}

void only_the_first_answer_counts(void**) {
    Fixture f;
    Batch batch;
    f.call->run();
    f.call->refuse({404, "a", "first"});
    f.call->respond({200, {}}, Piece::copy("second"));
    f.call->refuse({500, "b", "third"});
    f.call->start({200, {}});
    assert_true(f.call->push(bytes(1), false) == Call::Room::cancelled);
    assert_true(f.call->take(batch));
    assert_int_equal(batch.problem->status, 404);
    assert_false(batch.head.has_value());
    assert_int_equal(batch.pieces.size(), 0);
    assert_false(f.call->take(batch));
}

void a_head_travels_with_the_first_piece(void**) {
    Fixture f;
    Batch batch;
    f.call->run();
    f.call->start({200, {}});
    assert_true(f.call->state() == Call::State::streaming);
    assert_true(f.call->answered());
    assert_false(f.call->take(batch));
    f.call->push(Piece::copy("a"), false);
    f.call->push(Piece::copy("b"), false);
    assert_int_equal(f.rung().size(), 1);
    assert_true(f.call->take(batch));
    assert_true(batch.head.has_value());
    assert_false(batch.whole);
    assert_string_equal(text(batch).c_str(), "ab");
    assert_true(batch.end == End::open);
    f.call->end(End::finished);
    assert_int_equal(f.rung().size(), 1);
    assert_true(f.call->take(batch));
    assert_false(batch.head.has_value());
    assert_true(batch.end == End::finished);
}

void an_abort_comes_after_what_was_written(void**) {
    Fixture f;
    Batch batch;
    f.call->run();
    f.call->start({200, {}});
    f.call->push(Piece::copy("a"), false);
    f.call->end(End::aborted);
    f.call->end(End::finished);
    assert_true(f.call->take(batch));
    assert_string_equal(text(batch).c_str(), "a");
    assert_true(batch.end == End::aborted);
}

void empty_pieces_are_not_sent(void**) {
    Fixture f;
    Batch batch;
    f.call->run();
    f.call->start({200, {}});
    f.call->push(Piece::copy(""), false);
    assert_true(f.call->take(batch));
    assert_true(batch.head.has_value());
    assert_int_equal(batch.pieces.size(), 0);
}

void cancelling_empties_the_outbox(void**) {
    Fixture f;
    Batch batch;
    f.call->run();
    f.call->start({200, {}});
    f.call->push(bytes(10), false);
    assert_true(f.call->cancel());
    assert_false(f.call->cancel());
    assert_true(f.call->cancelled());
    assert_false(f.call->take(batch));
    assert_true(f.call->push(bytes(10), false) == Call::Room::cancelled);
    assert_false(f.call->wait_for_room());
    f.call->end(End::finished);
    f.call->refuse({500, "", ""});
    assert_false(f.call->take(batch));
}

void a_complete_answer_cannot_be_cancelled(void**) {
    Fixture f;
    Batch batch;
    f.call->run();
    f.call->respond({200, {}}, Piece::copy("done"));
    assert_false(f.call->cancel());
    assert_true(f.call->take(batch));
    f.call->finished();
    assert_false(f.call->cancel());
    assert_false(f.call->cancelled());
}

void a_queued_call_can_be_cancelled(void**) {
    Fixture f;
    assert_true(f.call->state() == Call::State::queued);
    assert_true(f.call->cancel());
    assert_true(f.call->cancelled());
}

void a_writer_waits_for_room(void**) {
    Fixture f;
    Batch batch;
    f.call->run();
    f.call->start({200, {}});
    assert_true(f.call->push(bytes(limit), false) == Call::Room::yes);
    assert_true(f.call->push(bytes(1), false) == Call::Room::no);
    bool room = false;
    std::thread writer([&] { room = f.call->wait_for_room(); });
    assert_true(f.call->take(batch));
    assert_false(f.call->sent(10));  // taken is not sent: what nginx holds counts
    assert_false(f.call->sent(limit / 2 + 1 - 10));
    writer.join();
    assert_true(room);
}

void a_waiting_writer_learns_of_cancellation(void**) {
    Fixture f;
    f.call->run();
    f.call->start({200, {}});
    f.call->push(bytes(limit + 1), false);
    bool room = true;
    std::thread writer([&] { room = f.call->wait_for_room(); });
    f.call->cancel();
    writer.join();
    assert_false(room);
}

void small_pieces_that_wait_become_one(void**) {
    Doorbell doorbell;
    auto call = std::make_shared<Call>(doorbell, 1 << 20);
    std::string all;
    auto push = [&](std::string piece) {
        all += piece;
        assert_true(call->push(Piece::copy(piece), false) == Call::Room::yes);
    };
    call->run();
    call->start({200, {}});
    for (int i = 0; i < 100'000; i++) {
        push(std::to_string(i % 10));
    }
    push(std::string(20'000, 'l'));
    push("a");
    push(std::string(4'000, 'b'));
    push(std::string(5'000, 'm'));
    push("c");
    Batch batch;
    assert_true(call->take(batch));
    assert_true(text(batch) == all);
    assert_in_range(batch.pieces.size(), 4, 12);
    assert_false(call->sent(all.size() - 1));
    assert_false(call->sent(1));
}

void a_piece_that_was_taken_does_not_grow(void**) {
    Fixture f;
    Batch first;
    Batch second;
    f.call->run();
    f.call->start({200, {}});
    for (const char* piece : {"a", "b", "c"}) {
        f.call->push(Piece::copy(piece), false);
    }
    assert_true(f.call->take(first));
    f.call->push(Piece::copy("d"), false);
    f.call->push(Piece::copy("e"), false);
    assert_true(text(first) == "abc");
    assert_true(f.call->take(second));
    assert_true(text(second) == "de");
    f.call->push(Piece::copy("f"), false);
    f.call->push(Piece::copy("g"), false);
    assert_true(f.call->cancel());
    assert_true(text(second) == "de");
}

void what_made_the_arguments_is_let_go_of(void**) {
    Fixture f;
    Params& params = f.call->asked.params;
    params.code = params.code_id = "code";
    params.kwargs = "kwargs";
    params.fields = params.beside = params.unused = {{"name", "value", false}};
    f.call->run();
    f.call->bound();
    assert_true(params.code.empty() && !params.kwargs && params.fields.empty());
    assert_true(params.beside.empty() && params.unused.empty());
    assert_true(params.code_id == "code" && params.fn_name == "run");  // which is logged
}

void an_asynchronous_writer_is_told_of_room_once(void**) {
    Fixture f;
    Batch batch;
    f.call->run();
    f.call->start({200, {}});
    assert_true(f.call->push(bytes(limit + 20), true) == Call::Room::no);
    assert_true(f.call->take(batch));
    assert_false(f.call->sent(20));
    assert_true(f.call->sent(limit));
    assert_true(f.call->push(bytes(1), true) == Call::Room::yes);
    assert_false(f.call->sent(1));
}

void the_doorbell_rings_once_until_it_is_answered(void**) {
    Fixture f;
    auto other = std::make_shared<Call>(f.doorbell, limit);
    assert_false(f.readable());
    f.call->respond({200, {}}, Piece::copy("a"));
    assert_true(f.readable());
    f.doorbell.reset();
    other->respond({200, {}}, Piece::copy("b"));
    f.doorbell.log({4, 0, "line"});
    assert_false(f.readable());
    std::vector<CallPtr> calls;
    std::vector<LogLine> lines;
    f.doorbell.answer(calls, lines);
    assert_int_equal(calls.size(), 2);
    assert_int_equal(lines.size(), 1);
    f.doorbell.ring();
    assert_true(f.readable());
    calls.clear();
    f.doorbell.answer(calls, lines);
    assert_int_equal(calls.size(), 0);
}

void lines_wait_in_bounds(void**) {
    Fixture f;
    const std::string text(1000, 'x');
    std::size_t logged = 10'000;
    for (std::size_t i = 0; i < logged; i++) {
        f.doorbell.log({7, 0, text});
    }
    f.doorbell.log({4, 0, "an error"});
    std::vector<CallPtr> calls;
    std::vector<LogLine> all;
    std::size_t portions = 0;
    for (bool more = true; more; portions++) {
        std::vector<LogLine> lines;
        more = f.doorbell.answer(calls, lines);
        assert_true(lines.size() * text.size() < 100'000);
        all.insert(all.end(), lines.begin(), lines.end());
    }
    assert_true(portions > 5);
    assert_true(all.size() * text.size() < 1'100'000);
    assert_string_equal(all[all.size() - 2].text.c_str(), "an error");
    std::string told = std::to_string(logged - (all.size() - 2)) + " lines are missing here";
    assert_non_null(std::strstr(all.back().text.c_str(), told.c_str()));
    f.doorbell.log({7, 0, "again"});
    all.clear();
    assert_false(f.doorbell.answer(calls, all));
    assert_int_equal(all.size(), 1);
}

void lines_that_nobody_wants_are_not_kept(void**) {
    Fixture f;
    f.doorbell.set_level(5);
    f.doorbell.log({6, 0, "notice"});
    assert_false(f.readable());
    f.doorbell.log({5, 0, "warn"});
    assert_true(f.readable());
    assert_true(f.doorbell.logs(5) && !f.doorbell.logs(6));
}

void timing_adds_up(void**) {
    Fixture f;
    assert_true(f.call->timing().run == 0);
    f.call->run();
    f.call->loaded(1e6);
    Timing timing = f.call->timing();
    assert_true(timing.load == 1e6);
    assert_true(timing.run == 0);  // loading is no running
    assert_true(timing.queue >= 0);
}

void a_parked_call_goes_back_once_its_thread_is_done(void**) {
    Fixture f;
    Batch batch;
    f.call->run();
    auto rest = std::make_shared<const int>(1);
    f.call->park(rest);
    assert_int_equal(f.rung().size(), 0);
    assert_true(f.call->hand_back());
    assert_int_equal(f.rung().size(), 1);
    assert_true(f.call->take(batch));
    assert_true(batch.parked);
    assert_true(f.call->state() == Call::State::queued);
    assert_false(f.call->hand_back());
    f.call->run();
    assert_ptr_equal(f.call->take_rest().get(), rest.get());
    assert_null(f.call->take_rest().get());
    f.call->respond({200, {}}, Piece::copy("x"));
    assert_true(f.call->take(batch));
    assert_false(batch.parked);
}

void nobody_waits_for_a_parked_call(void**) {
    Fixture f;
    Batch batch;
    std::weak_ptr<const int> kept;
    f.call->run();
    {
        auto rest = std::make_shared<const int>(1);
        kept = rest;
        f.call->park(rest);
    }
    assert_true(f.call->cancel());
    assert_false(f.call->hand_back());
    assert_false(f.call->take(batch));
    assert_true(kept.expired());
}

void what_was_read_goes_with_a_call_that_need_not_run(void**) {
    Fixture f;
    std::weak_ptr<const int> kept;
    f.call->run();
    {
        auto rest = std::make_shared<const int>(1);
        kept = rest;
        f.call->park(rest);
    }
    assert_true(f.call->hand_back());
    f.call->finished();
    assert_true(kept.expired());
    assert_false(f.call->cancel());
}

void what_is_said_keeps_its_place(void**) {
    Fixture f;
    f.call->run();
    f.call->say(Said::By::out, "a", false);
    assert_true(f.rung().empty());  // no line yet
    f.call->say(Said::By::out, "b\n", false);
    assert_int_equal(f.rung().size(), 1);
    f.call->start({200, {}});
    f.call->push(Piece::copy("1"), false);
    f.call->say(Said::By::out, "c\n", false);
    f.call->say(Said::By::err, "d", false);
    f.call->push(Piece::copy("2"), false);
    f.call->push(Piece::copy("3"), false);
    Batch batch;
    assert_true(f.call->take(batch));
    assert_int_equal(batch.pieces.size(), 2);
    assert_true(text(batch) == "123");
    assert_int_equal(batch.said->size(), 3);
    const char* texts[] = {"ab\n", "c\n", "d"};
    for (std::size_t i = 0; i < 3; i++) {
        assert_string_equal((*batch.said)[i].text.c_str(), texts[i]);
        assert_int_equal((*batch.said)[i].before, i > 0);
    }
    assert_false(f.call->take(batch));
}

void a_line_goes_when_it_is_flushed(void**) {
    Fixture f;
    Batch batch;
    f.call->run();
    f.call->say(Said::By::err, "a", false);
    assert_false(f.call->take(batch));
    f.call->say(Said::By::err, "", true);
    assert_int_equal(f.rung().size(), 1);
    assert_true(f.call->take(batch));
    assert_string_equal(batch.said->front().text.c_str(), "a");
    f.call->say(Said::By::err, "", true);
    assert_true(f.rung().empty());
    assert_false(f.call->flush());
    f.call->say(Said::By::err, "b", false);
    assert_true(f.call->flush());
    assert_true(f.call->take(batch));
}

void what_is_said_to_nobody_is_counted(void**) {
    Fixture f;
    f.call->run();
    f.call->say(Said::By::out, std::string(limit + 1, 'x') + "\n", false);
    f.call->say(Said::By::out, "four\n", false);
    f.call->say(Said::By::err, "five.\n", false);
    Batch batch;
    assert_true(f.call->take(batch));
    assert_int_equal(batch.said->size(), 1);
    f.call->sent(limit + 2);
    f.call->say(Said::By::out, "again\n", false);
    assert_true(f.call->take(batch));
    assert_int_equal(batch.said->front().missing, 11);
    f.call->say(Said::By::out, std::string(limit + 1, 'x') + "\n", false);
    f.call->say(Said::By::out, "end\n", false);
    f.call->respond({200, {}}, Piece());
    assert_true(f.call->take(batch));
    assert_int_equal(batch.said->size(), 2);
    assert_int_equal(batch.said->back().missing, 4);
}

void the_last_word_on_progress_counts(void**) {
    Fixture f;
    f.call->run();
    assert_false(f.call->take_progress().has_value());
    f.call->progress("1");
    f.call->progress("2");
    assert_int_equal(f.rung().size(), 1);
    assert_string_equal(f.call->take_progress()->c_str(), "2");
    f.call->progress("3");
    Batch batch;
    f.call->take(batch);
    assert_true(f.rung().empty());  // who has taken one comes for the next
    assert_string_equal(f.call->take_progress()->c_str(), "3");
    assert_false(f.call->take_progress().has_value());
    f.call->progress("4");
    assert_int_equal(f.rung().size(), 1);
}

void why_an_answer_broke_off_is_for_who_asked(void**) {
    for (bool events : {false, true}) {
        Fixture f;
        Batch batch;
        f.call->asked.params.events = events;
        f.call->run();
        f.call->start({200, {}});
        f.call->end(End::aborted, Problem{500, "adaptor-failed", "why"});
        assert_true(f.call->take(batch));
        assert_true((batch.problem != nullptr) == events);
    }
}

void a_descriptor_is_closed_once(void**) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    Fd reader(ends[0]);
    {
        Fd writer(ends[1]);
        Fd moved(std::move(writer));
        assert_false(static_cast<bool>(writer));
        moved = Fd();
        char byte;
        assert_int_equal(read(reader.get(), &byte, 1), 0);  // end of file: the writer's end is closed
    }
    Fd& same = reader;
    reader = std::move(same);
    assert_true(static_cast<bool>(reader));
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_answer_is_taken_once),
        cmocka_unit_test(only_the_first_answer_counts),
        cmocka_unit_test(a_head_travels_with_the_first_piece),
        cmocka_unit_test(an_abort_comes_after_what_was_written),
        cmocka_unit_test(empty_pieces_are_not_sent),
        cmocka_unit_test(cancelling_empties_the_outbox),
        cmocka_unit_test(a_complete_answer_cannot_be_cancelled),
        cmocka_unit_test(a_queued_call_can_be_cancelled),
        cmocka_unit_test(a_writer_waits_for_room),
        cmocka_unit_test(a_waiting_writer_learns_of_cancellation),
        cmocka_unit_test(small_pieces_that_wait_become_one),
        cmocka_unit_test(a_piece_that_was_taken_does_not_grow),
        cmocka_unit_test(what_made_the_arguments_is_let_go_of),
        cmocka_unit_test(an_asynchronous_writer_is_told_of_room_once),
        cmocka_unit_test(the_doorbell_rings_once_until_it_is_answered),
        cmocka_unit_test(lines_wait_in_bounds),
        cmocka_unit_test(lines_that_nobody_wants_are_not_kept),
        cmocka_unit_test(timing_adds_up),
        cmocka_unit_test(a_parked_call_goes_back_once_its_thread_is_done),
        cmocka_unit_test(nobody_waits_for_a_parked_call),
        cmocka_unit_test(what_was_read_goes_with_a_call_that_need_not_run),
        cmocka_unit_test(what_is_said_keeps_its_place),
        cmocka_unit_test(a_line_goes_when_it_is_flushed),
        cmocka_unit_test(what_is_said_to_nobody_is_counted),
        cmocka_unit_test(the_last_word_on_progress_counts),
        cmocka_unit_test(why_an_answer_broke_off_is_for_who_asked),
        cmocka_unit_test(a_descriptor_is_closed_once),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
