// owt_auth: what is a login in a configuration, and which Authorization headers it admits.

#include "guard/auth.hpp"
#include "call/sha256.hpp"

#include <cstring>
#include <initializer_list>

#include "check.hpp"

using namespace owt;
using std::string;
using std::string_view;
using namespace std::literals;

namespace {

// printf %s secret | sha256sum
constexpr string_view secret = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

Logins logins(std::initializer_list<string> texts) {
    Logins out;
    for (const string& text : texts) {
        Complaint complaint = out.add(text);
        expect(!complaint, text, complaint.value_or(""));
    }
    return out;
}

void add_test(void**) {
    for (const string& user : {"ann"s, "Ann Other"s, "ann@example.com"s, "j\xC3\xB6rg"s, " "s, "sha256"s}) {
        logins({user + ":" + string(secret)});
    }
    assert_true(Logins().empty());
    assert_false(logins({"ann:" + string(secret)}).empty());
    struct Case {
        string text, part;
    };
    for (const auto& [text, part] : std::initializer_list<Case>{
             {"", "no colon"},
             {"ann", "no colon"},
             {string(secret), "no colon"},
             {":" + string(secret), "no user"},
             {":", "no user"},
             {"ann:", "no SHA-256"},
             {"ann:hunter2", "no SHA-256"},
             {"ann:" + string(secret.substr(1)), "no SHA-256"},
             {"ann:" + string(secret) + "0", "no SHA-256"},
             {"ann:" + string(secret) + " ", "no SHA-256"},
             {"ann:" + string(secret) + "  -", "no SHA-256"},
             {"ann: " + string(secret), "no SHA-256"},
             {"ann:sha256:" + string(secret), "no SHA-256"},
             {"ann:other:" + string(secret), "no SHA-256"},
             {"ann:$5$salt$hash", "no SHA-256"},
             {"ann:" + string(63, 'a') + "g", "no SHA-256"},
             {"ann:" + string(63, 'a') + '\0', "no SHA-256"},
             {"an\nn:" + string(secret), "control characters"},
             {"an\0n:"s + string(secret), "control characters"},
             {"an\x7Fn:" + string(secret), "control characters"},
             {"an\xFFn:" + string(secret), "not UTF-8"},
             {"ann:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "empty password"},
         }) {
        Logins none;
        Complaint complaint = none.add(text);
        expect(complaint.has_value(), text, "accepted");
        expect(complaint->find(part) != string::npos, text, *complaint);
        expect(complaint->find("hunter2") == string::npos, text, "shows a password");
        expect(none.empty(), text, "kept");
    }
    Complaint complaint = Logins().add("ann:hunter2");
    assert_non_null(std::strstr(complaint->c_str(), "printf %s 'PASSWORD' | sha256sum"));
    assert_non_null(std::strstr(complaint->c_str(), "openssl dgst -sha256"));
}

void admit_test(void**) {
    Logins ann = logins({"ann:" + string(secret)});
    for (string_view good : {
             "Basic YW5uOnNlY3JldA==",  // ann:secret
             "basic YW5uOnNlY3JldA==",
             "BASIC   YW5uOnNlY3JldA==",
             "Basic YW5uOnNlY3JldA== ",
             "Basic YW5uOnNlY3JldA",
         }) {
        expect(ann.admit(good) == "ann", good);
    }
    for (string_view wrong : {
             ""sv,
             "Basic"sv,
             "Basic "sv,
             "Basic =="sv,
             "YW5uOnNlY3JldA=="sv,
             "BasicYW5uOnNlY3JldA=="sv,
             "Basic\tYW5uOnNlY3JldA=="sv,
             "Bearer YW5uOnNlY3JldA=="sv,
             "Digest YW5uOnNlY3JldA=="sv,
             "Basic ann:secret"sv,
             "Basic YW5uOnNlY3JldA==="sv,
             "Basic YW5uOnNlY3JldA==x"sv,
             "Basic YW5u OnNlY3JldA=="sv,
             "Basic YW5uOnNlY3JldA==, Basic YW5uOnNlY3JldA=="sv,
             "Basic YW5uOnNlY3JldA==\0"sv,
             "Basic \"YW5uOnNlY3JldA==\""sv,
             "Basic YW5uOndyb25n"sv,      // ann:wrong
             "Basic QW5uOnNlY3JldA=="sv,  // Ann:secret
             "Basic Ym9iOnNlY3JldA=="sv,  // bob:secret
             "Basic YW5uOg=="sv,          // ann:
             "Basic OnNlY3JldA=="sv,      // :secret
             "Basic Og=="sv,              // :
             "Basic YW5uc2VjcmV0"sv,      // annsecret
             "Basic YW5uOnNlY3JldAo="sv,  // ann:secret\n
             "Basic YW5uOnNlY3JldAA="sv,  // ann:secret\0
             "Basic YW5uADpzZWNyZXQ="sv,  // ann\0:secret
             "Basic YW5uOjpzZWNyZXQ="sv,  // ann::secret
             // the hash is no password
             "Basic YW5uOjJiYjgwZDUzN2IxZGEzZTM4YmQzMDM2MWFhODU1Njg2YmRlMGVhY2Q3MTYyZmVmNmEyNWZlOTdiZjUyN2EyNWI="sv,
         }) {
        expect(!ann.admit(wrong), wrong);
    }
    assert_false(Logins().admit("Basic YW5uOnNlY3JldA==").has_value());
}

void several_test(void**) {
    string other = "eff34ab45c0a94bf63f3ca7c86fba7b60b4c3c5fb58bf0c7cca5c9e22b0b30e8";
    Logins many = logins({"ann:" + string(64, 'A'), "ann:" + string(secret), "bob:" + other,
                          "eve:0f5ee2b08e41b2a8d4a3a4ab0b3f6cb1b1d0a4a1a0bd6b0f4e5cbe1e0e7f2a11"});
    assert_true(many.admit("Basic YW5uOnNlY3JldA==").has_value());
    assert_false(many.admit("Basic Ym9iOnNlY3JldA==").has_value());  // ann's password
    // The digits of a configured hash may be in either case.
    string upper(secret);
    for (char& c : upper) {
        c = static_cast<char>(c >= 'a' ? c - 'a' + 'A' : c);
    }
    assert_true(logins({"ann:" + upper}).admit("Basic YW5uOnNlY3JldA==").has_value());
    // A password may hold colons and anything else.
    Logins odd = logins({"ann:" + sha256_hex("a:b\n\xFF")});
    assert_true(odd.admit("Basic YW5uOmE6Ygr/").has_value());
    Logins utf8 = logins({"j\xC3\xB6rg:" + string(secret)});
    assert_true(utf8.admit("Basic asO2cmc6c2VjcmV0").has_value());
}

void problem_test(void**) {
    assert_int_equal(not_logged_in().status, 401);
    assert_string_equal(string(www_authenticate).c_str(), "Basic realm=\"owt\", charset=\"UTF-8\"");
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(add_test),
        cmocka_unit_test(admit_test),
        cmocka_unit_test(several_test),
        cmocka_unit_test(problem_test),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
