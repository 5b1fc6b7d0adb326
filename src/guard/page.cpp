// Browsers say of a request where it comes from in headers that scripts cannot set; over plain HTTP some of them are
// missing. Whatever cannot be read is taken for the worst.

#include "guard/page.hpp"

#include <algorithm>

#include "call/text.hpp"
#include "guard/host.hpp"
#include "guard/shown.hpp"

namespace owt {

namespace {

// What a preflight may ask for is told back to it: a bound keeps that short.
constexpr std::size_t max_headers = 1000;

// As browsers want to be told it.
constexpr std::string_view all_origins = "*";

Problem foreign_page(std::string_view what) {
    return {403, "foreign-page", std::string(what)};
}

// Or says nothing of the mode.
bool is_cors(const Visit& visit) {
    const auto& mode = visit[Visit::fetch_mode];
    return mode.empty() || visit.says(Visit::fetch_mode, "cors");
}

// A script's request, for all one can see. A form or a link on a foreign page is none.
bool is_scripted(const Visit& visit) {
    return visit[Visit::upgrade_insecure].empty() && is_cors(visit);
}

// No page can send this before its browser has asked whether it may (a preflight).
bool is_preflighted(const Visit& visit) {
    const auto& type = visit[Visit::content_type];
    bool json = type.size() == 1 && same(trim(type[0].substr(0, type[0].find(';'))), "application/json");
    return json || !visit[Visit::meant].empty();
}

bool is_preflight(const Visit& visit) {
    return visit.method == "OPTIONS" && visit[Visit::preflight_method].size() == 1;
}

// By headers that programs do not send. Node's fetch() is a program, and sends Sec-Fetch-Mode: cors; from a foreign
// page a browser sends an Origin with that.
bool is_browser(const Visit& visit) {
    return !visit[Visit::upgrade_insecure].empty() || !is_cors(visit) || !visit[Visit::fetch_dest].empty();
}

bool calls_itself_browser(const Visit& visit) {
    return std::ranges::any_of(visit[Visit::user_agent],
                               [](std::string_view agent) { return agent.find("Mozilla/") != std::string_view::npos; });
}

Problem refuse_origin(std::string_view origin) {
    return foreign_page("A page of " + std::string(origin) +
                        " asks for this, and only this server's own pages may. If its scripts may run code here, add "
                        "this line to the server's configuration:" +
                        line("owt_allow origin " + std::string(origin) + ";"));
}

Problem refuse_page(const Visit& visit) {
    const auto& sent = visit[Visit::origin];
    if (visit.says(Visit::origin, "null")) {
        return foreign_page(
            "The page that asks is nobody's (Origin: null): it is a file, or in a sandboxed frame. Serve it from a web "
            "server, and allow that:" +
            line("owt_allow origin http://ITS_HOST;"));
    }
    if (sent.size() == 1 && !canonical_origin(sent[0]).empty()) {
        return refuse_origin(sent[0]);
    }
    if (!sent.empty()) {
        return foreign_page("The request's Origin cannot be read: " + printable(sent[0]) +
                            (sent.size() > 1 ? ", and there are several." : "."));
    }
    if (!visit[Visit::referer].empty() && !is_browser(visit) && !calls_itself_browser(visit)) {
        std::string_view origin = origin_part(visit[Visit::referer][0]);
        return canonical_origin(origin).empty()
                   ? foreign_page("The request's Referer is no page of this server: " + printable(origin) +
                                  ". A program passes without Referer.")
                   : refuse_origin(origin);
    }
    return foreign_page(
        "A browser asks for this, not for a page of this server, and does not say for which. A link works in a tab of "
        "its own, not in a frame; a script calls by fetch() in mode cors, from an origin that is allowed:" +
        line("owt_allow origin http://ITS_HOST;") +
        "\nA program that is no browser passes without Sec-Fetch-* headers and with a User-Agent of its own.");
}

// Text from elsewhere in a page can hold such elements, where no script is let in.
Problem refuse_element(std::string_view what) {
    return {403, "embedded-code",
            "An element of a page asks for this" + std::string(what) +
                ", and its URL brings Python along. Text from elsewhere may have put it there, so that this is not "
                "run. Let a script ask by fetch(), and show what comes by URL.createObjectURL(); or send the code "
                "once, and name it in the URL by code_id, with arguments as fields of their own, without kwargs."};
}

// The browser was to be told that any origin may ask, but without the password that it remembers: it sends that along
// unasked, at least for a page of another port of the same host.
Problem refuse_unasked(std::string_view origin) {
    return foreign_page("A page of " + printable(origin) +
                        " asks for this, and its browser has not asked first whether it may (by a preflight): so the "
                        "password may be one that the browser remembers, and not the script's. Let the script send "
                        "JSON (Content-Type: application/json), or the header X-Owt: 1, and the password in a header "
                        "Authorization of its own.");
}

// What a page shows, plays or loads, a frame included, where the browser says what it wants it for.
std::optional<Problem> about_element(const Visit& visit) {
    const auto& dest = visit[Visit::fetch_dest];
    if (!visit.brings_python || dest.empty() || visit.says(Visit::fetch_dest, "empty") ||
        visit.says(Visit::fetch_dest, "document")) {
        return {};
    }
    return refuse_element(" (Sec-Fetch-Dest: " + printable(dest[0]) + ")");
}

// The same where it does not. Scripts, frames and fonts then look like fetch() or a link.
std::optional<Problem> about_plain_element(const Visit& visit) {
    if (!visit.brings_python || visit.method != "GET" || !calls_itself_browser(visit)) {
        return {};
    }
    auto is_shown = [](std::string_view types) {
        std::string text = lower(types);
        return text.starts_with("image/") || text.starts_with("text/css") || text.starts_with("audio/") ||
               text.starts_with("video/");
    };
    bool element = std::ranges::any_of(visit[Visit::accept], is_shown) || !visit[Visit::range].empty();
    return element ? std::optional(refuse_element("")) : std::nullopt;
}

// A link that was followed. Without code there is nothing to confirm.
Verdict follow_link(const Visit& visit, const Rules& rules) {
    Verdict verdict;
    if (visit.names_code && !rules.links) {
        verdict.kind = Verdict::Kind::confirm;
    }
    return verdict;
}

Verdict judge_fetch(const Visit& visit, const Rules& rules) {
    if (visit.says(Visit::fetch_site, "same-origin")) {
        auto refusal = about_element(visit);
        return refusal ? refuse(std::move(*refusal)) : Verdict();
    }
    bool known = visit.says(Visit::fetch_site, "cross-site") || visit.says(Visit::fetch_site, "same-site") ||
                 visit.says(Visit::fetch_site, "none");
    if (known && visit.method == "GET" && visit.says(Visit::fetch_mode, "navigate") &&
        visit.says(Visit::fetch_dest, "document")) {
        return follow_link(visit, rules);
    }
    return refuse(refuse_page(visit));
}

bool is_own(const Visit& visit, std::string_view origin) {
    std::string own = visit.own_origin();
    return !own.empty() && canonical_origin(origin) == own;
}

bool is_own_page(const Visit& visit) {
    const auto& sent = visit[Visit::origin];
    return visit[Visit::fetch_site].empty() ? sent.size() == 1 && is_own(visit, sent[0])
                                            : visit.says(Visit::fetch_site, "same-origin");
}

bool has_own_referer(const Visit& visit) {
    const auto& sent = visit[Visit::referer];
    return sent.size() == 1 && is_own(visit, origin_part(sent[0]));
}

bool has_foreign_referer(const Visit& visit, const Rules& rules) {
    const auto& sent = visit[Visit::referer];
    return !sent.empty() && (sent.size() > 1 || !rules.allows_origin(canonical_origin(origin_part(sent[0]))));
}

// A redirect may have brought it here: what follows one sends the headers that it was told to, and no others.
Verdict judge_program(const Visit& visit, const Rules& rules) {
    if (!rules.strict || !visit.names_code || !visit[Visit::meant].empty()) {
        return {};
    }
    return refuse(
        {403, "unmeant-code",
         "The URL of this request names code, and may be one that a foreign server has redirected it to. Send "
         "the code in the body (POST), or say that the URL is meant, by the header X-Owt: 1."});
}

// Browsers say no more over plain HTTP, unless to the machine itself.
Verdict judge_plain(const Visit& visit, const Rules& rules) {
    const auto& sent = visit[Visit::origin];
    if (!sent.empty() && !is_own_page(visit)) {
        return refuse(refuse_page(visit));
    }
    if (auto refusal = about_element(visit)) {
        return refuse(std::move(*refusal));
    }
    if (!sent.empty() || has_own_referer(visit)) {
        auto refusal = about_plain_element(visit);
        return refusal ? refuse(std::move(*refusal)) : Verdict();
    }
    // Sent with what is shown in a tab or a frame, and with nothing else. In a frame the page shows nothing.
    if (!visit[Visit::upgrade_insecure].empty() && visit.method == "GET") {
        return follow_link(visit, rules);
    }
    // A browser's POST has an Origin, so that one without is a program's, whatever it calls itself.
    if (is_browser(visit) || (calls_itself_browser(visit) && visit.method != "POST") ||
        has_foreign_referer(visit, rules)) {
        return refuse(refuse_page(visit));
    }
    return judge_program(visit, rules);
}

// What a preflight asks to be allowed, if it consists of names.
std::string header_names(const Visit::Values& asked) {
    std::string out;
    for (std::string_view value : asked) {
        bool names = all_parts(value, ',', [](std::string_view name) {
            name = trim(name, blanks);
            return !name.empty() && std::ranges::all_of(lower(name), [](char c) {
                return letters_and_digits.find(c) != std::string_view::npos || c == '-' || c == '_';
            });
        });
        if (!names || out.size() + value.size() > max_headers) {
            return {};
        }
        out.append(out.empty() ? "" : ", ").append(value);
    }
    return out;
}

}  // namespace

std::optional<Problem> about_prefetch(const Visit& visit) {
    if (!visit[Visit::ping_to].empty()) {
        return Problem{403, "prefetch",
                       "A browser reports by this that a link was followed (Ping-To), and nobody waits for the answer: "
                       "code is not run for that."};
    }
    auto guesses = [](std::string_view value) {
        std::string text = lower(value);
        return text.find("prefetch") != std::string::npos || text.find("prerender") != std::string::npos ||
               text.find("preview") != std::string::npos;
    };
    // Nothing but a browser that guesses sends the first. The others are its older spellings.
    if (visit[Visit::sec_purpose].empty() && std::ranges::none_of(visit[Visit::purpose], guesses) &&
        std::ranges::none_of(visit[Visit::moz], guesses)) {
        return {};
    }
    return Problem{
        403, "prefetch",
        "This asks for an answer that nobody may want yet (Sec-Purpose), and code is not run on a guess. Ask "
        "when it is wanted, without prefetching."};
}

std::string_view allowed_origin(const Visit& visit, const Rules& rules) {
    const auto& sent = visit[Visit::origin];
    if (sent.size() != 1 || (rules.origins.empty() && !rules.any_origin)) {
        return {};
    }
    std::string origin = canonical_origin(sent[0]);
    if (origin.empty()) {
        return {};
    }
    if (rules.allows_origin(origin)) {
        return sent[0];
    }
    return rules.any_origin && (rules.has_auth || rules.published) && is_scripted(visit) ? all_origins
                                                                                         : std::string_view();
}

Verdict judge_page(const Visit& visit, const Rules& rules, std::string_view allowed) {
    if (!allowed.empty() && !is_own_page(visit)) {
        if (is_preflight(visit)) {
            Verdict verdict;
            verdict.kind = Verdict::Kind::preflight;
            verdict.allow_headers = header_names(visit[Visit::preflight_headers]);
            return verdict;
        }
        if (allowed == all_origins && !is_preflighted(visit)) {
            return refuse(refuse_unasked(visit[Visit::origin][0]));
        }
        auto refusal = about_element(visit);
        return refusal ? refuse(std::move(*refusal)) : Verdict();
    }
    Verdict verdict = visit[Visit::fetch_site].empty() ? judge_plain(visit, rules) : judge_fetch(visit, rules);
    if (visit.method == "OPTIONS" && verdict.kind == Verdict::Kind::refuse) {
        verdict.problem.status = 405;
    }
    return verdict;
}

}  // namespace owt
