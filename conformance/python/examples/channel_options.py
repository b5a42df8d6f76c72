"""gRPC channels with keep-alive and with arguments of their own."""

from support import *

flags.protocol = "grpc"
module = client_module()
if flags.way == "keepalive":
    options = module.KeepAliveOptions(
        keepalive_time_ms=2**31 - 1,
        keepalive_timeout_ms=20000,
        keepalive_permit_without_calls=False,
        http2_max_pings_without_data=2,
    )
    triton = client(keepalive_options=options)
else:
    arguments = [
        ("grpc.max_send_message_length", 1024 * 1024),
        ("grpc.max_receive_message_length", 1024 * 1024),
        ("grpc.keepalive_time_ms", 2**31 - 1),
        ("grpc.keepalive_timeout_ms", 20000),
        ("grpc.keepalive_permit_without_calls", False),
        ("grpc.http2.max_pings_without_data", 2),
        ("grpc.dns_enable_srv_queries", 1),
    ]
    triton = client(channel_args=arguments)
first, second = add_sub_data()
inputs = add_sub_inputs(module, first, second)
outputs = [module.InferRequestedOutput(f"OUTPUT{index}") for index in range(2)]
check_add_sub(triton.infer("simple", inputs, outputs=outputs, headers={"test": "1"}), first, second)
triton.close()
