export {
  externalProcessor,
  type ProcessedReply,
  type ProcessedRequest,
  type Processing,
  type ProcessorOptions,
  type RequestProcessor,
} from "./external-processor.ts";
