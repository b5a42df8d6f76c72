import { inferredOffer } from "../endpoint/index.ts";
import { modelListings } from "./index-json.ts";
import { readLoadHeaders } from "./load-headers.ts";
import { narrowedOffer, parseMissing, parseOffers } from "./offer-json.ts";
import { severalAnswers } from "./several.ts";
import { toldStatistics } from "./statistics.ts";

/** Readers of replies that only a choice among servers, or a model with several answers, needs. The bundle of a client of one server lacks them. */
export interface FleetReaders {
  readonly inferredOffer: typeof inferredOffer;
  readonly modelListings: typeof modelListings;
  readonly narrowedOffer: typeof narrowedOffer;
  readonly parseMissing: typeof parseMissing;
  readonly parseOffers: typeof parseOffers;
  readonly readLoadHeaders: typeof readLoadHeaders;
  readonly severalAnswers: typeof severalAnswers;
  readonly toldStatistics: typeof toldStatistics;
}

/** All of them. */
export const fleetReaders: FleetReaders = {
  inferredOffer,
  modelListings,
  narrowedOffer,
  parseMissing,
  parseOffers,
  readLoadHeaders,
  severalAnswers,
  toldStatistics,
};
