export type {
  Answer,
  Availability,
  FrameResult,
  Limits,
  Offloader,
  ProgressNote,
  Result,
  Sequence,
  StepLimits,
  StreamLimits,
} from "./offloader.ts";
