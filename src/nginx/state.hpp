// What the module keeps with a request, until nginx redirects it.

#pragma once

#include <optional>
#include <string>

#include "call/call.hpp"
#include "guard/rules.hpp"
#include "guard/verdict.hpp"
#include "nginx/ngx.hpp"

namespace owt {

struct RequestState {
    const Rules* judged_by = nullptr;  // whose guard has let it pass
    Verdict verdict;
    std::string user;                    // who has logged in: nginx or owt_auth has looked at the password
    Consumer* exchange = nullptr;        // of its call: handler.cpp knows more of it
    std::optional<std::string> code_id;  // where the request goes elsewhere
};

inline RequestState* find_state(ngx_http_request_t* request) {
    return static_cast<RequestState*>(ngx_http_get_module_ctx(request, ngx_http_owt_module));
}

// Null if memory is short.
inline RequestState* ensure_state(ngx_http_request_t* request) {
    RequestState* state = find_state(request);
    if (state == nullptr) {
        state = make_in_pool<RequestState>(request->pool);
        ngx_http_set_ctx(request, state, ngx_http_owt_module);
    }
    return state;
}

}  // namespace owt
