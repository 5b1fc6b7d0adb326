// As much is told as the client takes, a share of it in each turn of the loop.

#include "nginx/telling.hpp"

#include "nginx/answer.hpp"
#include "nginx/passing.hpp"
#include "nginx/sending.hpp"

namespace owt {

namespace {

constexpr ngx_msec_t between_progress = 100;
constexpr int most_slices = 16;  // of events, until others have their turn

// Until something has been told a refusal is an answer like any other. A call that ran and failed is told.
bool is_told(const Exchange& exchange, const Batch& batch) {
    const Problem& problem = *batch.problem;
    return exchange.head_sent || batch.said != nullptr || problem.status == 500 || problem.status == 504;
}

}  // namespace

bool tell_on(Exchange& exchange, bool all) {
    Events& told = *exchange.told;
    if (told.waiting() && !exchange.head_sent) {
        ngx_int_t rc = send_head_of_events(exchange);
        if (!may_send_body(exchange.request, rc)) {
            finalize(exchange, rc);
            return false;
        }
    }
    for (int slices = 0; told.waiting() && (all || !waits_for_client(exchange)); ++slices) {
        if (slices == most_slices && !all) {
            ngx_post_event(&exchange.later, &ngx_posted_next_events);
            break;
        }
        Batch batch;
        batch.pieces.push_back(Piece::of(told.next()));
        if (told.over()) {
            batch.end = exchange.end = End::finished;
        } else if (batch.pieces.front().bytes.empty()) {
            continue;
        }
        ngx_chain_t* out = nullptr;
        if (!make_chain(exchange, batch, out)) {
            finalize(exchange, NGX_ERROR);
            return false;
        }
        if (!pass(exchange, out)) {
            return false;
        }
    }
    return true;
}

void tell_failure(Exchange& exchange, const Problem& problem) {
    exchange.failed = problem.status >= 500;
    exchange.told_status = static_cast<unsigned>(problem.status);
    exchange.told->failed(problem);
}

void refuse(Exchange& exchange, const Problem& problem) {
    if (exchange.told && exchange.head_sent) {
        tell_failure(exchange, problem);
        tell_on(exchange, true);
        return;
    }
    exchange.failed = problem.status >= 500;
    ngx_int_t rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
    if (set_report(exchange)) {
        rc = send_problem(exchange.request, problem);
    }
    finalize(exchange, rc);
}

std::optional<std::string> due_progress(Exchange& exchange, bool at_end) {
    if (exchange.awaits_progress && !at_end) {
        return std::nullopt;
    }
    auto progress = exchange.call->take_progress();
    exchange.awaits_progress = progress.has_value();
    if (progress && !at_end) {
        ngx_add_timer(&exchange.later, between_progress);
    }
    return progress;
}

bool tell(Exchange& exchange, Batch& batch) {
    if (batch.problem && !is_told(exchange, batch)) {
        refuse(exchange, *batch.problem);
        return false;
    }
    if (batch.file && !type_file(exchange, batch)) {
        finalize(exchange, NGX_ERROR);
        return false;
    }
    bool at_end = batch.end != End::open;
    if (at_end) {
        exchange.failed = batch.end == End::aborted || (batch.problem && batch.problem->status >= 500);
        int status = batch.problem ? batch.problem->status : exchange.failed ? 500 : 0;
        exchange.told_status = static_cast<unsigned>(status);
    }
    auto progress = due_progress(exchange, at_end);
    exchange.told->put(std::move(batch), exchange.call->timing(true), progress);
    return tell_on(exchange);
}

}  // namespace owt
