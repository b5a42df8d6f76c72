export { homography } from "./homography.ts";
export { distance, type Point, type Quadrilateral } from "./point.ts";
export { readingLines } from "./reading-order.ts";
export { cornersOf, grown, smallestRectangle } from "./rectangle.ts";
