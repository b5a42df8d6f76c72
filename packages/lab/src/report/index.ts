export {
  htmlReport,
  type Report,
  type ReportSection,
  type ReportTable,
  type ReportText,
} from "./html-report.ts";
export {
  type AxisWords,
  barsPlot,
  cdfPlot,
  type Plot,
  type PointSeries,
  type SampleSeries,
  timelinePlot,
} from "./plots.ts";
