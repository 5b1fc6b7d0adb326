// Those who ask for the same at the same time: one leads, nobody is forgotten, nobody is told twice.

#include "call/flights.hpp"

#include "check.hpp"

using namespace owt;

namespace {

const Digest one{1};
const Digest other{2};

struct Fixture {
    int told = 0;
    Flights flights{[this] { ++told; }};
    struct Named final : Waiter {
        explicit Named(int name) : name(name) {}
        void resume(KeptPtr) noexcept override {}
        int name;
    };
    Named names[4] = {Named(0), Named(1), Named(2), Named(3)};
    Flights::Ticket a{names[0]};
    Flights::Ticket b{names[1]};
    Flights::Ticket c{names[2]};
    Flights::Ticket d{names[3]};

    // Whose turn it is, and whether there is a result: "1" or "1+", "-" for nobody.
    std::string next() {
        auto due = flights.due();
        return due.owner == nullptr ? "-"
                                    : std::to_string(static_cast<Named*>(due.owner)->name) + (due.kept ? "+" : "");
    }
};

KeptPtr result() {
    return std::make_shared<const Kept>(Kept{"200", "body", {}, ""});
}

void the_first_leads(void**) {
    Fixture f;
    assert_true(f.flights.board(f.a, one));
    assert_false(f.flights.board(f.b, one));
    assert_true(f.flights.board(f.c, other));
    assert_true(f.a.leads());
    assert_false(f.b.leads());
    assert_string_equal(f.next().c_str(), "-");
}

void what_it_brings_all_get(void**) {
    Fixture f;
    for (auto* ticket : {&f.a, &f.b, &f.c}) {
        f.flights.board(*ticket, one);
    }
    f.a.land(result());
    assert_int_equal(f.told, 1);
    assert_string_equal(f.next().c_str(), "1+");
    assert_string_equal(f.next().c_str(), "2+");
    assert_string_equal(f.next().c_str(), "-");
    assert_true(f.flights.board(f.d, one));
}

void what_serves_nobody_else(void**) {
    Fixture f;
    for (auto* ticket : {&f.a, &f.b, &f.c}) {
        f.flights.board(*ticket, one);
    }
    f.a.land(nullptr);
    assert_string_equal(f.next().c_str(), "1");
    assert_string_equal(f.next().c_str(), "2");
    assert_false(f.b.leads());
    assert_true(f.flights.board(f.d, one));
}

void the_next_one_leads(void**) {
    Fixture f;
    for (auto* ticket : {&f.a, &f.b, &f.c}) {
        f.flights.board(*ticket, one);
    }
    f.a.leave();
    assert_true(f.b.leads());
    assert_string_equal(f.next().c_str(), "1");
    assert_string_equal(f.next().c_str(), "-");
    assert_false(f.flights.board(f.d, one));
    f.b.land(result());
    assert_string_equal(f.next().c_str(), "2+");
    assert_string_equal(f.next().c_str(), "3+");
}

void the_next_one_leaves_before_it_knows(void**) {
    Fixture f;
    for (auto* ticket : {&f.a, &f.b, &f.c}) {
        f.flights.board(*ticket, one);
    }
    f.a.leave();
    f.b.leave();
    assert_string_equal(f.next().c_str(), "2");
    f.c.leave();
    assert_string_equal(f.next().c_str(), "-");
    assert_true(f.flights.board(f.d, one));
}

void who_leaves_is_told_nothing(void**) {
    Fixture f;
    {
        Flights::Ticket passing(f.names[3]);
        f.flights.board(f.a, one);
        f.flights.board(passing, one);
        f.flights.board(f.b, one);
    }
    f.a.land(result());
    f.b.leave();
    assert_string_equal(f.next().c_str(), "-");
    f.a.leave();
    f.a.land(result());
    assert_string_equal(f.next().c_str(), "-");
}

void flights_apart(void**) {
    Fixture f;
    f.flights.board(f.a, one);
    f.flights.board(f.b, other);
    f.flights.board(f.c, one);
    f.flights.board(f.d, other);
    f.b.leave();
    f.a.land(result());
    assert_int_equal(f.told, 1);
    assert_string_equal(f.next().c_str(), "3");
    assert_string_equal(f.next().c_str(), "2+");
    assert_true(f.d.leads());
}

void one_boards_again(void**) {
    Fixture f;
    f.flights.board(f.a, one);
    f.flights.board(f.b, one);
    assert_true(f.flights.board(f.a, other));
    assert_true(f.b.leads());
    assert_false(f.flights.board(f.b, other));
    assert_string_equal(f.next().c_str(), "-");
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(the_first_leads),
        cmocka_unit_test(what_it_brings_all_get),
        cmocka_unit_test(what_serves_nobody_else),
        cmocka_unit_test(the_next_one_leads),
        cmocka_unit_test(the_next_one_leaves_before_it_knows),
        cmocka_unit_test(who_leaves_is_told_nothing),
        cmocka_unit_test(flights_apart),
        cmocka_unit_test(one_boards_again),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
