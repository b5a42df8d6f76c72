/** The counts of one model at servers of other makes. Times in seconds, added up over requests. */
export interface ForeignCounts {
  readonly finished: number;
  readonly runSeconds: number;
  /** Where the server says it. Default 0. */
  readonly waiting?: number;
  readonly queueSeconds?: number;
  readonly inFlight?: number;
}

/** The metrics of Triton 2.51 as it writes them, for model `m`. */
export function tritonMetrics(counts: ForeignCounts, model = "m"): string {
  const { finished, runSeconds, waiting = 0, queueSeconds = 0 } = counts;
  const own = `{model="${model}",version="1"}`;
  const us = (seconds: number): number => Math.round(seconds * 1e6);
  return `# HELP nv_inference_request_success Number of successful inference requests, all batch sizes
# TYPE nv_inference_request_success counter
nv_inference_request_success${own} ${finished}
# HELP nv_inference_request_failure Number of failed inference requests, all batch sizes
# TYPE nv_inference_request_failure counter
nv_inference_request_failure{model="${model}",reason="OTHER",version="1"} 0
nv_inference_request_failure{model="${model}",reason="BACKEND",version="1"} 0
# HELP nv_inference_count Number of inferences performed (does not include cached requests)
# TYPE nv_inference_count counter
nv_inference_count${own} ${finished}
# HELP nv_inference_request_duration_us Cumulative inference request duration in microseconds (includes cached requests)
# TYPE nv_inference_request_duration_us counter
nv_inference_request_duration_us${own} ${us(runSeconds + queueSeconds)}
# HELP nv_inference_queue_duration_us Cumulative inference queuing duration in microseconds (includes cached requests)
# TYPE nv_inference_queue_duration_us counter
nv_inference_queue_duration_us${own} ${us(queueSeconds)}
nv_inference_compute_input_duration_us${own} 0
nv_inference_compute_infer_duration_us${own} ${us(runSeconds)}
nv_inference_compute_output_duration_us${own} 0
# HELP nv_inference_pending_request_count Instantaneous number of pending requests awaiting execution per-model.
# TYPE nv_inference_pending_request_count gauge
nv_inference_pending_request_count${own} ${waiting}
nv_cpu_utilization 0.5
nv_cpu_memory_total_bytes 25276518400
`;
}

/** The metrics of MLServer 1.7.1 as it writes them, for model `m`. */
export function mlserverMetrics({ finished, runSeconds, inFlight = 0 }: ForeignCounts): string {
  return `# HELP process_cpu_seconds_total Total user and system CPU time spent in seconds.
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 4.25
# HELP model_infer_request_success_total Model infer request success count
# TYPE model_infer_request_success_total counter
model_infer_request_success_total{model="m",version="None"} ${finished}.0
# HELP model_infer_request_failure_total Model infer request failure count
# TYPE model_infer_request_failure_total counter
model_infer_request_failure_total{model="m",version="None"} 0.0
# HELP model_infer_request_duration Model infer request duration
# TYPE model_infer_request_duration summary
model_infer_request_duration_count{model="m",version="None"} ${finished}.0
model_infer_request_duration_sum{model="m",version="None"} ${runSeconds}
# HELP rest_server_requests_in_progress Total HTTP requests currently in progress
# TYPE rest_server_requests_in_progress gauge
rest_server_requests_in_progress{app_name="mlserver",method="POST"} ${inFlight}.0
rest_server_requests_in_progress{app_name="mlserver",method="GET"} 7.0
# HELP rest_server_requests_total Total HTTP requests
# TYPE rest_server_requests_total counter
rest_server_requests_total{app_name="mlserver",method="POST",path="/v2/models/{model_name}/infer",status_code="200"} ${finished}.0
`;
}

/** The metrics of KServe's Python server 0.21 as it writes them, for model `m`. */
export function kserveMetrics({ finished, runSeconds }: ForeignCounts): string {
  return `# HELP request_preprocess_seconds pre-process request latency
# TYPE request_preprocess_seconds histogram
request_preprocess_seconds_bucket{le="0.005",model_name="m"} ${finished}.0
request_preprocess_seconds_bucket{le="+Inf",model_name="m"} ${finished}.0
request_preprocess_seconds_count{model_name="m"} ${finished}.0
request_preprocess_seconds_sum{model_name="m"} 0.0
# HELP request_predict_seconds predict request latency
# TYPE request_predict_seconds histogram
request_predict_seconds_bucket{le="+Inf",model_name="m"} ${finished}.0
request_predict_seconds_count{model_name="m"} ${finished}.0
request_predict_seconds_sum{model_name="m"} ${runSeconds}
request_predict_seconds_created{model_name="m"} 1.7956740328235264e+09
`;
}
