// A call that wants its result kept: where it looks before it runs, whom it waits for, what it records while its answer
// goes out, and what its head says of all that (Cache-Status, RFC 9211). And the directives of it.

#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "call/flights.hpp"
#include "call/hooks.hpp"
#include "call/kept.hpp"
#include "nginx/conf.hpp"
#include "nginx/ngx.hpp"
#include "nginx/zone.hpp"

namespace owt {

class Caching {
  public:
    // What a call is to do next.
    enum class Step { answer, wait, run };

    // Seconds that a call waits for another: that may be a stream without an end, or the caller itself.
    static constexpr int patience = for_tests(30, 1);

    explicit Caching(Waiter& waiter) : ticket_(waiter) {}

    // Looks whether there is a result, or somebody who is about to have one.
    Step look(ngx_http_request_t* request, const Call::Asked& asked);
    // After Step::wait: nobody brought a result (null) or somebody did.
    Step resume(ngx_http_request_t* request, KeptPtr kept);
    // After Step::answer.
    const Zone::Result& result() const { return result_; }
    // After Step::wait, when it has waited long enough: it runs by itself. False if it no longer waits.
    bool give_up_waiting();
    // Its body, if it was not copied at first; nullopt if it has been forgotten since.
    std::optional<std::string_view> body(ngx_http_request_t* request);

    // After Step::run: this is about to be sent. To a head something may be added.
    void record(Batch& batch);
    // This answer will not be whole, whatever it looks like.
    void spoil();
    // The client is slow, or gone: others need not wait for it.
    void step_aside() { ticket_.leave(); }

    // $owt_cache_status
    std::string_view state() const;
    // Adds Cache-Status. False if memory is short.
    bool report(ngx_http_request_t* request) const;

  private:
    enum class State { bypassed, refreshed, missed, collapsed, hit };

    bool find(ngx_http_request_t* request);
    void keep();

    Flights::Ticket ticket_;
    State state_ = State::bypassed;
    Zone* zone_ = nullptr;
    Digest key_{};  // of the call,
    Digest at_{};   // and where its result was found
    std::string accept_;
    std::optional<Recording> recording_;
    Clock::time_point begun_;          // when the head came
    std::chrono::seconds begun_at_{};  // by uptime(): when it looked, and found nothing
    bool stored_ = false;
    std::string file_;  // that is published, if it is
    Version version_;   // as which it was loaded when it looked
    Zone::Result result_;
    KeptPtr kept_;  // what the result points to, unless that is the request's memory
};

// The directives owt_zone, owt_cache and owt_cache_max.
char* set_zone(ngx_conf_t* cf, ngx_command_t* command, void* conf) noexcept;
char* set_cache(ngx_conf_t* cf, ngx_command_t* command, void* conf) noexcept;
char* set_cache_max(ngx_conf_t* cf, ngx_command_t* command, void* conf) noexcept;
char* merge_cache(ngx_conf_t* cf, LocationConf& outer, LocationConf& inner);

}  // namespace owt
