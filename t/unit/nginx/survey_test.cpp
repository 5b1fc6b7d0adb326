// What is told of all processes: what is whole and no more, whatever became of its writer; names that are anybody's;
// the forms of JSON and of Prometheus.

#include "nginx/survey.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>

#include "check.hpp"
#include "nginx/status_page.hpp"

using namespace owt;

namespace {

constexpr std::string_view code_id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

Process process(std::uint32_t generation, Process::State state, std::string_view name = "default") {
    Process process{};
    process.pid = ::getpid();
    process.generation = generation;
    process.state = state;
    name.copy(process.name.data(), process.name.size() - 1);
    return process;
}

CallSeen call(std::uint64_t number, std::uint32_t location, std::string_view function = "run") {
    CallSeen seen{};
    seen.number = number;
    seen.location = location;
    seen.since = static_cast<std::int64_t>(number) * 1'000'000'000;
    seen.endpoint = endpoint_number(code_id);
    function.copy(seen.function.data(), seen.function.size() - 1);
    return seen;
}

bool has(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

void names_test(void**) {
    assert_true(endpoint_number(code_id) == 0x0123456789abcdef);
    assert_true(endpoint_number("0123") == 0);
    assert_true(endpoint_number("0123456789abcdeg") == 0);
    auto digits = endpoint_digits(0x0123456789abcdef);
    assert_true(std::string_view(digits.data(), digits.size()) == code_id.substr(0, 16));

    auto name = read_call_id(call_id(4711, 12));
    assert_true(name && name->pid == 4711 && name->number == 12);
    for (std::string_view wrong : {"", "-", "12", "12-", "-12", "12-0", "12-x", "12-3x", "0-3",
                                   "99999999999999999999-1", "1-99999999999999999999", "12--3", " 1-2", "1-2 "}) {
        expect(!read_call_id(wrong), wrong);
    }
}

void calls_test(void**) {
    Scoreboard& board = Scoreboard::make();
    auto number = static_cast<std::uint32_t>(board.location("default", "/\"x\\\n<&"));
    board.enter(3, process(1, Process::State::ready));
    Row& row = board.row(3);
    std::size_t hint = 0;
    Sight first;
    Sight second;
    first.show(row.tally, row.place(hint), call(1, number));
    second.show(row.tally, row.place(hint), call(2, number, "<b>"));
    Survey seen = survey(board);
    assert_int_equal(seen.calls.size(), 2);
    assert_int_equal(seen.processes[0].queued, 2);
    assert_int_equal(seen.processes[0].running, 0);
    first.stands(Stage::running);
    second.stands(Stage::ending);  // cancelled while it was queued
    seen = survey(board);
    assert_int_equal(seen.processes[0].queued, 1);
    assert_int_equal(seen.processes[0].running, 1);
    std::string json = calls_json(seen, 3'500'000'000);
    assert_true(has(json, "\"id\": \"" + call_id(::getpid(), 1) + "\""));
    assert_true(has(json, "\"state\": \"running\", \"age\": 2.500"));
    assert_true(has(json, "\"endpoint\": \"0123456789abcdef\""));
    assert_true(has(json, R"("location": "/\"x\\\n<&")"));
    second.stands(Stage::none);
    second.stands(Stage::none);
    first.stands(Stage::queued);  // it waits once more
    first.stands(Stage::running);
    first.stands(Stage::none);
    seen = survey(board);
    assert_int_equal(seen.calls.size(), 0);
    assert_int_equal(seen.processes[0].queued, 0);
    assert_int_equal(seen.processes[0].running, 0);
    assert_true(calls_json(seen, 0) == "[]");

    // Those without a place are counted.
    std::array<Sight, Row::most_calls + 5> many;
    std::uint64_t n = 10;
    for (Sight& one : many) {
        one.show(row.tally, row.place(hint), call(n++, number));
    }
    seen = survey(board);
    assert_int_equal(seen.calls.size(), Row::most_calls);
    assert_int_equal(seen.hidden, 5);
    for (Sight& one : many) {
        one.stands(Stage::running);
        one.stands(Stage::none);
    }
    seen = survey(board);
    assert_int_equal(seen.calls.size(), 0);
    assert_int_equal(seen.hidden, 0);
    assert_true(row.place(hint).stage != nullptr);
}

// A writer is killed anywhere, over and over: nobody ever sees half of a call, and who comes after it begins anew.
void killed_test(void**) {
    Scoreboard& board = Scoreboard::make();
    for (int round = 0; round < 60; round++) {
        pid_t writer = ::fork();
        if (writer == 0) {
            board.enter(0, process(1, Process::State::ready));
            std::size_t hint = 0;
            for (std::uint64_t number = 1;; number++) {
                Sight sight;
                std::string name(20, static_cast<char>('a' + number % 26));
                sight.show(board.row(0).tally, board.row(0).place(hint), call(number, 0, name));
                sight.stands(Stage::running);
                sight.name(code_id, name);
                sight.stands(Stage::none);
                board.row(0).counted[0].calls[0].add(0.001);
            }
        }
        bool seen_call = false;
        for (int look = 0; look < 300 || !seen_call; look++) {
            for (const SeenCall& one : survey(board).calls) {
                seen_call = true;
                char expected = static_cast<char>('a' + one.seen.number % 26);
                std::string_view function(one.seen.function.data());
                assert_true(function == std::string(20, expected));
                assert_true(one.seen.since == static_cast<std::int64_t>(one.seen.number) * 1'000'000'000);
            }
        }
        ::kill(writer, SIGKILL);
        ::waitpid(writer, nullptr, 0);
        assert_int_equal(survey(board).processes.size(), 0);
    }
    board.enter(0, process(1, Process::State::ready));
    Survey seen = survey(board);
    assert_int_equal(seen.processes.size(), 1);
    assert_int_equal(seen.calls.size(), 0);
    assert_int_equal(seen.processes[0].running, 0);
    // What is counted stays, and goes with its time.
    const Durations& counted = board.row(0).counted[0].calls[0];
    std::uint64_t calls = 0;
    for (const auto& one : counted.counts) {
        calls += one;
    }
    assert_true(calls > 0);
    assert_in_range(counted.nanoseconds / 1'000'000, calls, calls + 60);
}

void orders_test(void**) {
    Scoreboard& board = Scoreboard::make();
    Orders& orders = board.row(0).orders;
    assert_true(Orders::give(orders.stops, 7));
    assert_true(Orders::give(orders.stops, 7));
    assert_true(Orders::give(orders.stops, 8));
    std::string followed;
    auto follow = [&](std::uint64_t what) { followed += std::to_string(what) + " "; };
    Orders::follow(orders.stops, follow);
    Orders::follow(orders.stops, follow);
    assert_true(followed == "7 8 ");
    for (std::uint64_t what = 1; what <= Orders::most; what++) {
        assert_true(Orders::give(orders.drops, what));
    }
    assert_false(Orders::give(orders.drops, 100));
    board.enter(0, process(1, Process::State::ready));  // they were another's
    assert_true(Orders::give(orders.drops, 100));
}

void endpoints_test(void**) {
    Scoreboard& board = Scoreboard::make();
    for (std::size_t place : {0, 1}) {
        board.enter(place, process(1, Process::State::ready));
        board.row(place).has_endpoint(5, true);
    }
    board.row(0).has_endpoint(6, true);
    board.row(0).has_endpoint(6, true);
    board.row(1).has_endpoint(7, false);
    Survey seen = survey(board);
    assert_int_equal(seen.endpoints.size(), 2);
    assert_int_equal(seen.endpoints[0].pids.size(), 2);
    assert_int_equal(seen.endpoints[1].pids.size(), 1);
    board.row(0).has_endpoint(5, false);
    board.row(0).has_endpoint(6, false);
    assert_int_equal(survey(board).endpoints.size(), 1);
    // There is no room for more than so many, and what there is stays right.
    for (std::uint64_t number = 100; number < 100 + 2 * Row::most_endpoints; number++) {
        board.row(0).has_endpoint(number, true);
    }
    board.row(0).has_endpoint(100 + 2 * Row::most_endpoints, false);
    board.row(0).has_endpoint(100, false);
    assert_int_equal(survey(board).endpoints.size(), Row::most_endpoints - 1 + 1);
}

void locations_test(void**) {
    Scoreboard& board = Scoreboard::make();
    std::size_t first = board.location("default", "/");
    assert_int_equal(board.location("default", "/"), first);
    assert_int_not_equal(board.location("model", "/"), first);
    assert_int_not_equal(board.location("default", ""), first);
    assert_false(board.location(50).has_value());
    for (int i = 0; i < 200; i++) {
        board.location("default", "/" + std::to_string(i));
    }
    std::size_t rest = board.location("default", "/one more");
    assert_int_equal(rest, Row::most_locations - 1);
    assert_int_equal(board.location("default", "/another"), rest);
    assert_true(std::string_view(board.location(rest)->name.data()) == "others");
    assert_int_equal(board.location("default", "/"), first);
}

void metrics_test(void**) {
    Scoreboard& board = Scoreboard::make();
    std::size_t whole = board.location("default", "");
    std::size_t root = board.location("default", "/a\"b\\c");
    for (std::size_t place : {0, 1}) {
        board.enter(place, process(1, Process::State::ready));
        Counted& counted = board.row(place).counted[root];
        counted.calls[static_cast<std::size_t>(Outcome::success)].add(0.001);
        counted.calls[static_cast<std::size_t>(Outcome::success)].add(0.3);
        counted.calls[static_cast<std::size_t>(Outcome::cancelled)].add(1000);
        board.row(place).counted[whole].loads.add(2);
    }
    board.row(0).counted[board.location("default", "/\xC3")].calls[0].add(1);
    std::string text = metrics_text(survey(board), board);
    for (std::string_view line : {
             "owt_calls_total{instance=\"default\",location=\"/a\\\"b\\\\c\",status=\"2xx\"} 4\n",
             "location=\"/?\",status=\"2xx\"} 1\n",
             "status=\"5xx\"} 0\n",
             "status=\"cancelled\"} 2\n",
             "status=\"2xx\",le=\"0.001\"} 2\n",
             "status=\"2xx\",le=\"0.25\"} 2\n",
             "status=\"2xx\",le=\"0.5\"} 4\n",
             "status=\"2xx\",le=\"+Inf\"} 4\n",
             "status=\"cancelled\",le=\"100\"} 0\n",
             "status=\"cancelled\",le=\"+Inf\"} 2\n",
             "owt_call_duration_seconds_sum{instance=\"default\",location=\"/a\\\"b\\\\c\",status=\"2xx\"} 0.602\n",
             "owt_load_duration_seconds_count{instance=\"default\"} 2\n",
             "owt_processes{instance=\"default\",state=\"ready\"} 2\n",
         }) {
        expect(has(text, line), line, text);
    }
    expect(!has(text, "3xx"), "what has not been", text);
}

void outcomes_test(void**) {
    assert_true(outcome_of(204) == Outcome::success);
    assert_true(outcome_of(304) == Outcome::redirection);
    assert_true(outcome_of(499) == Outcome::client_error);
    assert_true(outcome_of(504) == Outcome::server_error);
}

void health_test(void**) {
    Scoreboard& board = Scoreboard::make();
    board.next_generation();
    const std::vector<std::string> both = {"default", "model"};
    assert_true(what_is_wrong(survey(board), {}).empty());
    assert_true(what_is_wrong(survey(board), both) == "no process of the ordinary workers serves calls");
    board.enter(0, process(1, Process::State::ready));
    board.enter(1, process(1, Process::State::starting, "model"));
    assert_true(what_is_wrong(survey(board), both) == "no process of model serves calls: 1 is starting");
    board.enter(2, process(1, Process::State::retiring, "model"));
    board.enter(3, process(1, Process::State::retiring, "model"));
    assert_true(what_is_wrong(survey(board), both) ==
                "no process of model serves calls: 1 is starting, 2 are being replaced");
    board.enter(4, process(1, Process::State::spare, "model"));
    assert_false(what_is_wrong(survey(board), both).empty());
    // In a reload the old ones serve until the new ones do.
    board.next_generation();
    assert_true(what_is_wrong(survey(board), both).empty());
}

void page_test(void**) {
    const std::string& page = status_page();
    assert_true(page.starts_with("<!DOCTYPE html>"));
    for (std::string_view foreign : {"http:", "https:", "//cdn", "innerHTML", "onclick", "style=\""}) {
        expect(!has(page, foreign), foreign);
    }
    bool policy = false;
    for (const auto& [name, value] : status_headers()) {
        policy = policy || (name == "Content-Security-Policy" && has(value, "frame-ancestors 'none'") &&
                            has(value, "default-src 'none'") && !has(value, "unsafe"));
    }
    assert_true(policy);
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(names_test),   cmocka_unit_test(calls_test),     cmocka_unit_test(killed_test),
        cmocka_unit_test(orders_test),  cmocka_unit_test(endpoints_test), cmocka_unit_test(locations_test),
        cmocka_unit_test(metrics_test), cmocka_unit_test(outcomes_test),  cmocka_unit_test(health_test),
        cmocka_unit_test(page_test),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
