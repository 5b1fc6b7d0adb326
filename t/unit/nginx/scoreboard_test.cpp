// The scoreboard: what is published is had whole or not at all, whatever becomes of its writer; seats and sockets.

#include "nginx/scoreboard.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "check.hpp"

using namespace owt;

namespace {

struct Many {
    std::array<std::uint64_t, 64> numbers;
};

pid_t in_child(const std::function<void()>& work) {
    pid_t child = ::fork();
    if (child == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // of a test that fails
        work();
        ::_exit(0);
    }
    return child;
}

void kill_and_wait(pid_t child) {
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
}

Process process(pid_t pid, std::uint32_t generation, std::uint32_t worker) {
    Process process{};
    process.pid = pid;
    process.generation = generation;
    process.worker = worker;
    process.state = Process::State::starting;
    return process;
}

Scoreboard& board() {
    return Scoreboard::make();
}

// Writers are killed in the middle of it, over and over, and others take their place.
void published_test(void**) {
    Scoreboard& shared = board();
    auto& published = *reinterpret_cast<Published<Many>*>(&shared);
    static_assert(sizeof(Published<Many>) <= sizeof(Scoreboard));
    assert_true(published.read().has_value());
    int seen = 0;
    int torn = 0;
    for (int round = 0; round < 100; round++) {
        pid_t writer = in_child([&] {
            for (std::uint64_t i = static_cast<std::uint64_t>(round) << 32;; i++) {
                Many many;
                many.numbers.fill(i);
                published.write(many);
            }
        });
        for (int look = 0; look < 2000; look++) {
            if (auto many = published.read()) {
                seen++;
                for (std::uint64_t number : many->numbers) {
                    assert_int_equal(number, many->numbers[0]);
                }
            }
        }
        kill_and_wait(writer);
        torn += !published.read().has_value();
    }
    assert_true(seen > 0);
    assert_true(torn < 100);
    Many last;
    last.numbers.fill(7);
    published.write(last);
    assert_int_equal(published.read()->numbers[63], 7);
}

void rows_test(void**) {
    Scoreboard& shared = board();
    assert_int_equal(shared.next_generation(), 1);
    int found = 0;
    auto count = [&](std::size_t, const Process&) { found++; };
    shared.each_process(count);
    assert_int_equal(found, 0);

    assert_int_equal(shared.enter(5, process(::getpid(), 1, 2)), 0);
    shared.row(5).done = 12;
    shared.each_process([&](std::size_t place, const Process& seen) {
        assert_int_equal(place, 5);
        assert_int_equal(seen.worker, 2);
        found++;
    });
    assert_int_equal(found, 1);

    // A successor knows how many before it failed, and counts its own calls alone.
    assert_int_equal(shared.enter(5, process(::getpid(), 1, 2)), 1);
    assert_int_equal(shared.enter(5, process(::getpid(), 1, 2)), 2);
    assert_int_equal(shared.row(5).done, 0);
    shared.row(5).starts = 0;
    assert_int_equal(shared.enter(5, process(::getpid(), 1, 2)), 0);
    // Another configuration's worker in the same place does not.
    assert_int_equal(shared.enter(5, process(::getpid(), 2, 2)), 0);
    assert_int_equal(shared.enter(5, process(::getpid(), 2, 3)), 0);

    // Who was killed is not there any more, though nobody has written so.
    pid_t other = in_child([&] {
        shared.enter(6, process(::getpid(), 1, 0));
        ::pause();
    });
    do {
        found = 0;
        shared.each_process(count);
    } while (found < 2);
    kill_and_wait(other);
    found = 0;
    shared.each_process(count);
    assert_int_equal(found, 1);
}

void sockets_test(void**) {
    Scoreboard& shared = board();
    shared.next_generation();
    shared.listens(7, 1);
    assert_true(shared.listens(7));
    assert_false(shared.listens(8));
    shared.opened(7, 1);
    assert_false(shared.opened_after(7, 1));
    shared.next_generation();
    assert_false(shared.listens(7));
    shared.listens(7, 2);
    shared.opened(7, 2);
    assert_true(shared.opened_after(7, 1));
    // One of the old that is late changes nothing.
    shared.opened(7, 1);
    assert_true(shared.opened_after(7, 1));
    // For numbers that there is no room for nobody waits.
    shared.listens(1 << 20, 2);
    shared.opened(1 << 20, 2);
    assert_false(shared.listens(1 << 20));
    assert_false(shared.listens(-1));
    assert_true(shared.opened_after(-1, 1));
}

void quits_test(void**) {
    Scoreboard& shared = board();
    shared.next_generation();
    shared.next_generation();
    assert_false(shared.nobody_comes());
    shared.quits(1);
    assert_false(shared.nobody_comes());
    shared.quits(2);
    assert_true(shared.nobody_comes());
    shared.quits(1);
    assert_true(shared.nobody_comes());
    shared.next_generation();
    assert_false(shared.nobody_comes());
}

void seats_test(void**) {
    Scoreboard& shared = board();
    for (std::size_t place = 0; place < 4; place++) {
        shared.enter(place, process(::getpid(), 1, static_cast<std::uint32_t>(place)));
    }
    assert_true(shared.take_seat(10, 2, 1, 0));
    assert_true(shared.take_seat(10, 2, 1, 0));
    assert_true(shared.take_seat(10, 2, 1, 1));
    assert_false(shared.take_seat(10, 2, 1, 2));
    assert_true(shared.take_seat(12, 1, 1, 2));  // of another instance
    shared.leave_seat(1);
    assert_true(shared.take_seat(10, 2, 1, 3));
    assert_false(shared.take_seat(10, 2, 1, 1));

    // Whose successor comes has none.
    shared.enter(0, process(::getpid(), 1, 0));
    assert_true(shared.take_seat(10, 2, 1, 1));

    // Another configuration's own seats are free, and the one before gets none of them.
    shared.enter(1, process(::getpid(), 1, 1));
    shared.enter(2, process(::getpid(), 2, 2));
    assert_true(shared.take_seat(10, 1, 2, 2));
    assert_false(shared.take_seat(10, 1, 1, 1));

    // Who was killed and has no successor has none either.
    pid_t other = in_child([&] {
        shared.enter(8, process(::getpid(), 2, 0));
        while (!shared.take_seat(20, 1, 2, 8)) {
        }
        ::pause();
    });
    while (shared.take_seat(20, 1, 2, 2)) {
        shared.leave_seat(2);
    }
    kill_and_wait(other);
    assert_true(shared.take_seat(20, 1, 2, 2));
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(published_test), cmocka_unit_test(rows_test),  cmocka_unit_test(sockets_test),
        cmocka_unit_test(quits_test),     cmocka_unit_test(seats_test),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
