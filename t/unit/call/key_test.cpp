// Keys: what makes two calls the same, and what does not.

#include "call/key.hpp"
#include "call/locate.hpp"

#include <functional>

#include "check.hpp"

using namespace owt;

namespace {

struct Asked {
    Scope scope{"zone", "server", "/", "default"};
    Target target{"POST", "/path", "/path", "a=1"};
    Place place = Place::json;
    Params params;
    std::string further;

    Asked() {
        params.code_id = std::string(64, 'a');
        params.fields = {{"x", "1", true}};
    }
    Digest key() const { return key_of(scope, target, place, params, further); }
};

struct Case {
    const char* what;
    std::function<void(Asked&)> change;
    bool same;
    std::function<void(Asked&)> both = [](Asked&) {};
};

void counting(Asked& asked) {
    asked.params.cache_kwargs = true;
}

void named(Asked& asked) {
    asked.params.cache_key_override = "mine";
}

void in_query(Asked& asked) {
    asked.place = Place::query;
    asked.target.query = "code_id=sha256:1&a=1";
}

const Case cases[] = {
    {"the same", [](Asked&) {}, true},
    {"code", [](Asked& a) { a.params.code_id[0] = 'b'; }, false},
    {"function", [](Asked& a) { a.params.fn_name = "other"; }, false},
    {"path", [](Asked& a) { a.target.path = "/other"; }, false},
    {"rewritten path", [](Asked& a) { a.target.uri = "/other"; }, false},
    {"path and query",
     [](Asked& a) {
         a.target = {"POST", "/patha", "/path", "=1"};
     },
     false},
    {"query", [](Asked& a) { a.target.query = "a=2"; }, false},
    {"method", [](Asked& a) { a.target.method = "GET"; }, false},
    {"server", [](Asked& a) { a.scope.server = "other"; }, false},
    {"location", [](Asked& a) { a.scope.location = "/other"; }, false},
    {"instance", [](Asked& a) { a.scope.instance = "other"; }, false},
    {"fields", [](Asked& a) { a.params.fields[0].value = "2"; }, true},
    {"kwargs", [](Asked& a) { a.params.kwargs = "{}"; }, true},
    {"further", [](Asked& a) { a.further = "files"; }, true},
    {"HEAD and GET", [](Asked& a) { a.target.method = "HEAD"; }, true, [](Asked& a) { a.target.method = "GET"; }},
    {"counting or not", counting, false},
    {"counted field", [](Asked& a) { a.params.fields[0].value = "2"; }, false, counting},
    {"counted name", [](Asked& a) { a.params.fields[0].name = "y"; }, false, counting},
    {"counted type", [](Asked& a) { a.params.fields[0].json = false; }, false, counting},
    {"counted order", [](Asked& a) { std::swap(a.params.fields[0], a.params.fields[1]); }, false,
     [](Asked& a) {
         counting(a);
         a.params.fields.push_back({"y", "1", true});
     }},
    {"counted kwargs", [](Asked& a) { a.params.kwargs = "{}"; }, false, counting},
    {"empty kwargs", [](Asked& a) { a.params.kwargs = ""; }, false, counting},
    {"counted further", [](Asked& a) { a.further = "files"; }, false, counting},
    {"beside code_b64",
     [](Asked& a) {
         a.params.beside = {{"z", "1", true}};
     },
     false, counting},
    {"moved beside", [](Asked& a) { a.params.beside.swap(a.params.fields); }, false, counting},
    {"an override", named, false},
    {"overrides", [](Asked& a) { a.params.cache_key_override = "other"; }, false, named},
    {"other code, one override", [](Asked& a) { a.params.code_id[0] = 'b'; }, true, named},
    {"other path, one override",
     [](Asked& a) {
         a.target = {"GET", "/", "/", ""};
     },
     true, named},
    {"other server, one override", [](Asked& a) { a.scope.server = "other"; }, false, named},
    {"other location, one override", [](Asked& a) { a.scope.location = "other"; }, false, named},
    {"other instance, one override", [](Asked& a) { a.scope.instance = "other"; }, false, named},
    {"own parameters of a query", [](Asked& a) { a.target.query = "a=1&fn%5Fname=run&use_cache=1"; }, true, in_query},
    {"other fields of a query", [](Asked& a) { a.target.query = "code=x&a=2"; }, false, in_query},
    {"own names beside a body", [](Asked& a) { a.target.query = "a=1&use_cache=1"; }, false},
};

void pairs(void**) {
    for (const Case& one : cases) {
        Asked first;
        one.both(first);
        Asked second;
        one.both(second);
        one.change(second);
        expect((first.key() == second.key()) == one.same, one.what);
    }
}

void by_accept(void**) {
    Digest key = Asked().key();
    assert_true(key_of(key, "text/html") == key_of(key, "text/html"));
    assert_false(key_of(key, "text/html") == key_of(key, "text/plain"));
    assert_false(key_of(key, "") == key);
}

void a_query_without_parameters(void**) {
    struct {
        const char* query;
        const char* left;
    } queries[] = {
        {"", ""},
        {"a=1", "a=1"},
        {"code=x&a=1&kwargs=y&b", "a=1&b="},
        {"c%6Fde=x&c%6Fdes=1", "c%6Fdes=1"},
        {"cache_key_override=k&&a=%41+b", "a=%41+b"},
        {"use_cache&Use_Cache=1", "Use_Cache=1"},
    };
    for (auto [query, left] : queries) {
        std::string got = without_parameters(query);
        expect(got == left, query, got);
    }
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(pairs),
        cmocka_unit_test(by_accept),
        cmocka_unit_test(a_query_without_parameters),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
