#include "call/fields.hpp"

#include <algorithm>
#include <unordered_set>

#include "call/intake.hpp"
#include "call/json.hpp"
#include "call/urlencoded.hpp"

namespace owt {

namespace {

// Behind the body's fields, those of the query that it has not.
Complaint add_query(std::string_view query, Params& params) {
    if (query.empty()) {
        return {};
    }
    Params added = params.function();
    if (auto complaint = read_urlencoded(query, added)) {
        return complaint;
    }
    std::unordered_set<std::string_view> known;
    for (const std::vector<Field>* fields : {&params.fields, &params.unused}) {
        for (const Field& field : *fields) {
            known.insert(field.name);
        }
    }
    auto is_known = [&](const Field& field) { return known.contains(field.name); };
    std::erase_if(added.fields, is_known);
    std::erase_if(added.unused, is_known);
    known.clear();  // what it points to may move
    std::ranges::move(added.fields, std::back_inserter(params.fields));
    std::ranges::move(added.unused, std::back_inserter(params.unused));
    return {};
}

}  // namespace

Complaint read_fields(Place place, std::string_view query, std::string_view body, Params& params) {
    params.published = true;
    Complaint complaint;
    if (place == Place::json) {
        complaint = read_json(body, params);
    } else if (place == Place::urlencoded) {
        complaint = read_urlencoded(body, params);
    } else {
        params = params.function();
    }
    return complaint ? complaint : add_query(query, params);
}

Complaint read_fields(const std::vector<std::pair<std::string, std::string>>& form, std::string_view query,
                      Params& params) {
    params.published = true;
    auto complaint = read_form(form, params);
    return complaint ? complaint : add_query(query, params);
}

}  // namespace owt
