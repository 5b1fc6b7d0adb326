// Answers as they are kept: what their head allows, their head as text and back, and recording.

#include "call/kept.hpp"

#include "check.hpp"

using namespace owt;

namespace {

std::vector<Piece> pieces(std::initializer_list<std::string_view> texts) {
    std::vector<Piece> pieces;
    for (std::string_view text : texts) {
        pieces.push_back(Piece::copy(text));
    }
    return pieces;
}

void terms(void**) {
    struct {
        Head head;
        const char* refused;
        int lifetime = -1;
        bool by_accept = false;
    } cases[] = {
        {{200, {}}, nullptr},
        {{201, {}}, nullptr},
        {{301, {}}, nullptr},
        {{206, {}}, "status"},
        {{304, {}}, "status"},
        {{404, {}}, "status"},
        {{500, {}}, "status"},
        {{200, {{"Set-Cookie", "a"}}}, "set-cookie"},
        {{200, {{"set-cookie", ""}}}, "set-cookie"},
        {{200, {{"Cache-Control", "no-store"}}}, "no-store"},
        {{200, {{"Cache-Control", "public, No-Store"}}}, "no-store"},
        {{200, {{"Cache-Control", "no-cache=\"x, y\""}}}, "no-store"},
        {{200, {{"Cache-Control", "private"}}}, "private"},
        {{200, {{"Cache-Control", "public"}}}, nullptr},
        {{200, {{"Cache-Control", "no-stores"}}}, nullptr},
        {{200, {{"Cache-Control", "max-age=60"}}}, nullptr, 60},
        {{200, {{"Cache-Control", "max-age=\"60\""}}}, nullptr, 60},
        {{200, {{"Cache-Control", "s-maxage=5, max-age=60"}}}, nullptr, 5},
        {{200, {{"Cache-Control", "max-age=60,s-maxage=5"}}}, nullptr, 5},
        {{200, {{"Cache-Control", "max-age=60"}, {"Cache-Control", "private"}}}, "private", 60},
        {{200, {{"Cache-Control", "max-age=0"}}}, "no-store", 0},
        {{200, {{"Cache-Control", "max-age=-1"}}}, "no-store", 0},
        {{200, {{"Cache-Control", "max-age"}}}, "no-store", 0},
        {{200, {{"Cache-Control", "max-age=99999999999999999999"}}}, nullptr, INT32_MAX},
        {{200, {{"Vary", "Accept"}}}, nullptr, -1, true},
        {{200, {{"Vary", " accept ,"}}}, nullptr, -1, true},
        {{200, {{"Vary", "Accept, Cookie"}}}, "vary", -1, true},
        {{200, {{"Vary", "*"}}}, "vary"},
        {{200, {{"Vary", "Accept-Encoding"}}}, "vary"},
    };
    for (const auto& one : cases) {
        Terms got = terms_of(one.head);
        std::string what = write_head(one.head);
        expect(std::string_view(one.refused ? one.refused : "") == (got.refused ? got.refused : ""), what,
               got.refused ? got.refused : "");
        expect(got.by_accept == one.by_accept, what);
        bool right = one.lifetime == INT32_MAX ? got.lifetime && got.lifetime->count() >= INT32_MAX
                                               : (got.lifetime ? got.lifetime->count() : -1) == one.lifetime;
        expect(right, what, "lifetime");
    }
}

void a_head_comes_back(void**) {
    Head head{203, {{"A", "b"}, {"Empty", ""}, {"A", "c: d"}}};
    std::string text = write_head(head);
    assert_int_equal(status_in(text), 203);
    std::size_t i = 0;
    each_header_in(text, [&](std::string_view name, std::string_view value) {
        assert_true(name == head.headers[i].name);
        assert_true(value == head.headers[i].value);
        i++;
    });
    assert_int_equal(i, 3);
    assert_true(etag_in(text).empty());
    assert_true(etag_in(write_head({200, {{"etag", "\"x\""}}})) == "\"x\"");
    assert_int_equal(status_in(write_head({200, {}})), 200);
}

void a_whole_answer(void**) {
    Recording recording(10);
    Head head{200, {}};
    recording.begin(head, true, pieces({"hello", "you"}));
    assert_null(recording.refused());
    assert_int_equal(head.headers.size(), 1);
    Kept kept = recording.take();
    assert_string_equal(kept.body.c_str(), "helloyou");
    assert_true(etag_in(kept.head) == head.headers[0].value);
    assert_int_equal(head.headers[0].value.size(), 34);
}

void a_stream_gets_its_etag_at_the_end(void**) {
    Recording recording(10);
    Head head{200, {{"A", "b"}}};
    recording.begin(head, false, {});
    assert_int_equal(head.headers.size(), 1);
    recording.add(pieces({"hello"}));
    recording.add(pieces({"yo", "u"}));
    Kept kept = recording.take();
    assert_string_equal(kept.body.c_str(), "helloyou");
    Recording other(10);
    Head whole{200, {}};
    other.begin(whole, true, pieces({"helloyou"}));
    assert_true(etag_in(kept.head) == whole.headers[0].value);
}

void an_etag_of_its_own_stays(void**) {
    Recording recording(10);
    Head head{200, {{"ETag", "\"mine\""}}};
    recording.begin(head, true, pieces({"x"}));
    assert_int_equal(head.headers.size(), 1);
    assert_true(etag_in(recording.take().head) == "\"mine\"");
}

void the_limit(void**) {
    Recording full(8);
    Head head{200, {}};
    full.begin(head, false, {});
    full.add(pieces({"hello"}));
    full.add(pieces({"you"}));
    full.add(pieces({""}));
    assert_null(full.refused());
    full.add(pieces({"!"}));
    assert_string_equal(full.refused(), "too-large");
    full.add(pieces({"more"}));
    assert_string_equal(full.refused(), "too-large");

    Recording whole(8);
    whole.begin(head, true, pieces({"hello", "you!"}));
    assert_string_equal(whole.refused(), "too-large");
}

void the_first_reason_counts(void**) {
    Recording recording(1);
    Head head{200, {{"Set-Cookie", "a"}}};
    recording.begin(head, false, {});
    recording.add(pieces({"too much"}));
    recording.give_up("error");
    assert_string_equal(recording.refused(), "set-cookie");
    assert_int_equal(head.headers.size(), 1);
}

void directives(void**) {
    assert_true(has_directive("no-cache", "no-cache"));
    assert_true(has_directive("max-age=0, No-Cache", "no-cache"));
    assert_false(has_directive("no-store", "no-cache"));
    assert_false(has_directive("", "no-cache"));
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(terms),
        cmocka_unit_test(a_head_comes_back),
        cmocka_unit_test(a_whole_answer),
        cmocka_unit_test(a_stream_gets_its_etag_at_the_end),
        cmocka_unit_test(an_etag_of_its_own_stays),
        cmocka_unit_test(the_limit),
        cmocka_unit_test(the_first_reason_counts),
        cmocka_unit_test(directives),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
